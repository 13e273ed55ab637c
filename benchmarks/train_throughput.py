"""Training images/s against a plain PyTorch loop over the same network: float32, N C H W, no library around it.

    python benchmarks/train_throughput.py [--rounds 5] [--batch 128] [--steps 4]

Both sides do whole steps (forward, backward, SGD with momentum) on uint8 images of CIFAR-10's size, in turn, in one
process with the same number of threads. Ours is the loop that `imclass train` runs, augmentation, guards against NaN
and all, in the arithmetic its probe chose, and as it would be on a CPU without bf16, where the probe has only memory
orders to choose from; the plain one gets ready-made batches. The claim is the ratio.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imclass.app.run import Run
from imclass.app.train import PROBED, Job, configure, prepare
from imclass.core import precision
from imclass.core.store import Store
from imclass.models.layers import Dropout
from imclass.train import loop
from imclass.train.events import StepEnd

RECIPES = {"resnet-cifar-32": "cifar10-resnet", "vgg-bn-drop": "cifar10-vgg"}


def plain(network: nn.Module, batch: int) -> Iterator[None]:
    """A step a time: what a tutorial would write."""
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


def ours(state: loop.State) -> Iterator[None]:
    """A step a time of the real loop."""
    for event in loop.steps(state):
        if isinstance(event, StepEnd):
            yield


def fake_cifar(store: Path, images: int) -> None:
    """Noise in the official layout; the speed does not depend on what is in the pictures."""
    folder = store / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        records = generator.integers(0, 256, (images, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())


def rate(steps: Iterator[None], count: int, batch: int) -> float:
    """Images a second over `count` steps."""
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    return count * batch / (time.perf_counter() - began)


def without_bf16(job: Job) -> Job:
    """The same job in the arithmetic that the probe chooses where there is no bf16."""
    network, first = job.task.classifier.network, next(job.task.loaders[0].batches(0))
    chosen, _ = precision.probe(network, first.images[:PROBED], first.labels[:PROBED], precision.FP32)
    precision.laid_out(network, chosen)
    return replace(job, task=replace(job.task, runtime=replace(job.task.runtime, arithmetic=chosen)))


def compare(name: str, folder: Path, batch: int, rounds: int, count: int) -> None:
    """One network's table."""
    config, store = configure(RECIPES[name], batch=batch), Store(folder, offline=True)
    job = prepare(config, Run(folder / name), store)
    other = without_bf16(prepare(replace(config, precision="fp32"), Run(folder / f"{name}-fp32"), store))
    last = prepare(replace(config, precision="fp32"), Run(folder / f"{name}-plain"), store)
    sides = {
        "plain": plain(last.task.classifier.network, batch),
        "imclass": ours(loop.start(job.task)),
        "no bf16": ours(loop.start(other.task)),
    }
    for steps in sides.values():
        rate(steps, 2, batch)
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, steps in sides.items():
            found[side].append(rate(steps, count, batch))
    print(f"{name}, batch {batch}: {job.notes[-1]}; without bf16: {other.task.runtime.arithmetic}")
    for side in sides:
        ratios = [a / b for a, b in zip(found[side], found["plain"], strict=True)]
        rates = f"{statistics.median(found[side]):7.0f} images/s ({min(found[side]):.0f} to {max(found[side]):.0f})"
        print(f"  {side:<8}{rates}   ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Both networks."""
    parser = argparse.ArgumentParser()
    for name, value in (("rounds", 5), ("batch", 128), ("steps", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        fake_cifar(Path(folder), 10_000)
        for name in RECIPES:
            compare(name, Path(folder), given.batch, given.rounds, given.steps)


if __name__ == "__main__":
    main()
