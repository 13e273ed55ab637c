"""The share of a training step that logging takes: the run's log.jsonl and TensorBoard's log, at the default settings.

    python benchmarks/logging_cost.py [--rounds 15] [--steps 40]

One process trains. In alternate blocks of steps, every event is passed to both logs or to neither. The times are CPU
times of the training thread in steps, without scoring and checkpoints, so that other work on the machine, and threads
that spin between two layers, change them little. The claim is the ratio of neighbouring blocks. LeNet-5 on digits has
the shortest steps of all recipes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from imclass.app.runs.directory import Run
from imclass.app.runs.train import prepare
from imclass.app.runs.watchers.log import Log
from imclass.app.runs.watchers.tensorboard import TensorBoard
from imclass.app.settings.configure import configure
from imclass.core import runtime
from imclass.core.config import Training
from imclass.store.context import Context
from imclass.store.store import Store
from imclass.training.events import Consumer, StepEnd
from imclass.training.loop import train
from imclass.training.parallel import SingleProcess

WARM = 5  # steps before the first that is timed


def fake_cifar(store: Path, images: int) -> None:
    """Write noise in the official layout; the speed does not depend on the content of images."""
    folder = store / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        records = generator.integers(0, 256, (images, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())


def block_seconds(config: Training, folder: Path, rounds: int, steps: int) -> tuple[list[float], list[float]]:
    """Train, and return the CPU seconds of the blocks without and with logs."""
    job = prepare(config, Run(folder / "run"), Context(Store(folder, offline=True)))
    runtime.apply_runtime(job.runtime)
    state = job.state()
    logs: Sequence[Consumer] = (Log(job.run), TensorBoard(job.run, state, job.legs))
    found: tuple[list[float], list[float]] = ([], [])
    done, total, began = -WARM, 0.0, time.thread_time()
    for event in train(state, job.legs, SingleProcess(), job.keeper()):
        if done >= 0 and done // steps % 2:
            for log in logs:
                log.see(event)
        now = time.thread_time()
        if isinstance(event, StepEnd):
            done, total = done + 1, total + now - began
            if done > 0 and done % steps == 0:
                found[(done - 1) // steps % 2].append(total)
            total = 0.0 if done % steps == 0 else total
            if done == 2 * rounds * steps:
                break
        began = time.thread_time()
    for log in logs:
        log.close()
    return found


def main() -> None:
    """Measure three recipes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for recipe, steps in (("mnist-lenet", 5 * given.steps), ("cifar10-resnet-quick", max(1, given.steps // 8))):
        with tempfile.TemporaryDirectory() as folder:
            fake_cifar(Path(folder), 10_000)
            plain, logged = block_seconds(configure(recipe, epochs=1_000), Path(folder), given.rounds, steps)
        shares = sorted(b / a - 1 for a, b in zip(plain, logged, strict=True))
        step = 1000 * statistics.median(plain) / steps
        print(f"{recipe:<22}{step:7.2f} ms of CPU a step; logs add {100 * statistics.median(shares):.2f} %", end=" ")
        print(f"(quartiles {100 * shares[len(shares) // 4]:.2f} to {100 * shares[3 * len(shares) // 4]:.2f} %)")


if __name__ == "__main__":
    main()
