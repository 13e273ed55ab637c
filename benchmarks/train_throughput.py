"""Images per second in training, against a plain PyTorch loop over the same network in float32 and N C H W.

    python benchmarks/train_throughput.py [--rounds 5] [--batch 128] [--steps 4]

All sides run whole steps (forward, backward, SGD with momentum) on uint8 images of CIFAR-10's size, alternately, each
in a separate process with the same number of threads. Ours is the loop of `imclass train`, including augmentation and
guards against NaN. It runs in the arithmetic that its probe chooses, and once more as on a CPU without bf16, where the
probe can only choose the memory order. The plain loop gets ready-made batches. The claim is the ratio.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imclass.app.cli.main import SPIN_COUNT
from imclass.app.runs.directory import Run
from imclass.app.runs.settle import PROBE_IMAGES
from imclass.app.runs.train import Job, prepare
from imclass.app.settings.configure import configure
from imclass.core import runtime
from imclass.models.arithmetic import precision
from imclass.models.classifier import create
from imclass.models.layers.dropout import Dropout
from imclass.store.context import Context
from imclass.store.store import Store
from imclass.training.events import StepEnd
from imclass.training.loop import train
from imclass.training.parallel import SingleProcess

RECIPES = {"resnet-cifar-32": "cifar10-resnet", "vgg-bn-drop": "cifar10-vgg"}
SIDES = ("plain", "imclass", "no bf16")
WARM = 3  # steps before the first that is timed


def plain(network: nn.Module, batch: int) -> Iterator[None]:
    """Run one step of a loop as a tutorial would write it, each time the iterator is advanced."""
    network.train()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Dropout):
                setattr(parent, name, nn.Dropout(child.p))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8), torch.arange(batch) % 10
    while True:
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
        yield


def ours(job: Job) -> Iterator[None]:
    """Run one step of the real loop, each time the iterator is advanced."""
    for event in train(job.state(), job.legs, SingleProcess(), job.keeper()):
        if isinstance(event, StepEnd):
            yield


def fake_cifar(store: Path, images: int) -> None:
    """Write noise in the official layout; the speed does not depend on the content of images."""
    folder = store / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        records = generator.integers(0, 256, (images, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())


def without_bf16(job: Job) -> Job:
    """Return the job in the arithmetic that the probe chooses without bf16."""
    network, first = job.legs[0].make().network, next(job.legs[0].loader.batches(0)).parts[0]
    chosen, _ = precision.probe(
        network, first.images[:PROBE_IMAGES], torch.as_tensor(first.targets[:PROBE_IMAGES].numpy()), precision.FP32
    )
    return replace(job, runtime=replace(job.runtime, arithmetic=chosen))


def serve(name: str, side: str, store: Path, batch: int) -> None:
    """Run one side: print its arithmetic, then read numbers of steps and print the seconds that they take."""
    if side == "plain":
        steps = plain(create(name, [f"class {i}" for i in range(10)]).network, batch)
        arithmetic = "fp32"
    else:
        config = configure(RECIPES[name], batch=batch, precision="auto" if side == "imclass" else "fp32")
        job = prepare(config, Run(store / f"{name} {side}"), Context(Store(store, offline=True)))
        job = job if side == "imclass" else without_bf16(job)
        runtime.apply_runtime(job.runtime)  # sets threads and keeps freed memory, as the command does
        steps = ours(job)
        arithmetic = str(job.runtime.arithmetic)
    for _ in range(WARM):
        next(steps)
    print(arithmetic, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            next(steps)
        print(time.perf_counter() - began, flush=True)


def answer(process: "subprocess.Popen[str]") -> str:
    """Return the next line that a side prints."""
    out: IO[str] | None = process.stdout
    line = out.readline() if out else ""
    if not line.strip():
        raise SystemExit(f"a side ended early: {process.args!r}")
    return line.strip()


def ask(process: "subprocess.Popen[str]", steps: int) -> float:
    """Return the seconds that a side takes for a number of steps."""
    assert process.stdin is not None
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    return float(answer(process))


def begin(stack: ExitStack, words: Sequence[str], side: str) -> "subprocess.Popen[str]":
    """Start the process of a side, which ends with `stack`; ours has the environment that the command line sets."""
    settings = {} if side == "plain" else {"GOMP_SPINCOUNT": SPIN_COUNT}
    command = [sys.executable, __file__, *words, "--side", side]
    process = subprocess.Popen(
        command, env=os.environ | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def compare(name: str, store: Path, batch: int, rounds: int, count: int) -> None:
    """Measure all sides on one network and print a table."""
    words = ["--network", name, "--store", str(store), "--batch", str(batch)]
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        processes, arithmetics = {}, {}
        for side in SIDES:  # one after the other, because a probe needs an idle machine
            processes[side] = begin(stack, words, side)
            arithmetics[side] = answer(processes[side])
        for _ in range(rounds):
            for side, process in processes.items():
                found[side].append(count * batch / ask(process, count))
    print(f"{name}, batch {batch}")
    for side in SIDES:
        ratios = [a / b for a, b in zip(found[side], found["plain"], strict=True)]
        rates = f"{statistics.median(found[side]):7.0f} images/s ({min(found[side]):.0f} to {max(found[side]):.0f})"
        ratio = f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {side:<8}{rates}   {ratio}   {arithmetics[side]}")


def main() -> None:
    """Measure both networks."""
    parser = argparse.ArgumentParser()
    for word, value in (("rounds", 5), ("batch", 128), ("steps", 4)):
        parser.add_argument(f"--{word}", type=int, default=value)
    for word in ("network", "side", "store"):  # for the process of one side
        parser.add_argument(f"--{word}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        return serve(given.network, given.side, Path(given.store), given.batch)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        fake_cifar(Path(folder), 10_000)
        for name in RECIPES:
            compare(name, Path(folder), given.batch, given.rounds, given.steps)


if __name__ == "__main__":
    main()
