"""Reasons why `cifar10-resnet-adam` may reach a lower test accuracy after one epoch than PaddlePaddle's book, 60%.

    python benchmarks/adam_gap.py [--data DIR] [--seeds 5] [--processes 8] [--variants bias head ...] [--runs FILE]

DIR contains CIFAR-10's official binary files (data_batch_1.bin ...), directly or in a subfolder. Without it, two steps
are taken on images of noise, which only checks that all variants run. The default is the network without biases, in
float32. Each variant differs from it in one choice, and `paddle` in every choice in which Paddle's Fluid differs. In
Fluid's source (python/paddle/fluid: layers/nn.py, layer_helper_base.py, initializer.py;
operators/optimizers/adam_op.h), convolutions begin with N(0, 2 / fan-in), as ours do, and the last layer with Glorot's
uniform distribution and biases of 0. Adam adds its epsilon of 1e-8 to the root of the second moment before the bias
correction. Batch norm keeps 0.9 of the running statistics and has an epsilon of 1e-5, as in PyTorch.

With --runs, each run is added to the file as it ends, and the runs in it are not repeated, so that a stopped benchmark
can go on, also on another machine.

Every run is also scored with batch norms that use the statistics of each test batch of 128 images. Differences from
the default are paired by seed, with a 95% interval of Student's t. About one in twenty such intervals excludes 0 by
chance. The cost and accuracy of batches 0, 100, 200 and 300 can be compared with the book's log: 3.87, 1.48, 1.34, 1.22
and 0.164, 0.461, 0.523, 0.594.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from imclass.core import runtime
from imclass.core.config import Execution
from imclass.core.contracts import Origin
from imclass.core.model_file import Provenance
from imclass.core.runtime import Arithmetic, Runtime
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.loader import Loader
from imclass.data.sets.cifar import CIFAR10
from imclass.models.layers.initialisers import init_glorot
from imclass.models.network import Network
from imclass.recipes.cifar10 import cifar10_resnet_adam
from imclass.store.context import open_context
from imclass.training.events import StepEnd
from imclass.training.loop import step
from imclass.training.optimisers.adam import Adam
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Leg, Splits, plan, resolve_models
from imclass.training.state import State

FILES = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}
LOGGED = (0, 100, 200, 300)  # the batches in the book's log
TEST_BATCH = 128
DEFAULT, BATCH_STATISTICS = "default", ", batch statistics"


@dataclass(frozen=True)
class Variant:
    """The choices of a run."""

    bias: bool = False  # in the second convolution of each block
    head: bool = False  # Glorot's distribution in the last layer, and biases of 0
    epsilon: bool = False  # Adam's epsilon is added before the bias correction
    norm_momentum: float = 0.1  # the share of a batch in batch norm's running statistics
    norm_epsilon: float = 1e-5
    buffer: int = 0  # images are shuffled within blocks of this size, 1 keeps the order of the files; 0: all together
    precision: str = "fp32"


VARIANTS = {
    DEFAULT: Variant(),
    "bias": Variant(bias=True),
    "head": Variant(head=True),
    "epsilon": Variant(epsilon=True),
    "paddle": Variant(bias=True, head=True, epsilon=True),
    "norm-momentum-0.01": Variant(norm_momentum=0.01),
    "norm-epsilon-1e-3": Variant(norm_epsilon=1e-3),
    "buffer-12800": Variant(buffer=12_800),
    "file-order": Variant(buffer=1),
    "bf16": Variant(precision="bf16"),
}


class PaddleAdamStep(torch.optim.Adam):
    """Adam with Paddle's epsilon: PyTorch's, divided by the square root of the second moment's bias correction."""

    taken = 0

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        self.taken += 1
        for group in self.param_groups:
            group["eps"] = 1e-8 / math.sqrt(1 - group["betas"][1] ** self.taken)
        return super().step(closure)


@dataclass(frozen=True)
class PaddleAdam(Adam):
    """Adam as in Paddle's Fluid."""

    def build(self, groups: list[dict[str, Any]]) -> Any:
        """Return the optimiser."""
        return PaddleAdamStep(groups, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockLoader(Loader):
    """A loader that shuffles images within consecutive blocks."""

    block: int

    def tickets(self, draws: Any) -> Any:
        """Return the positions of an epoch's images, in the order of use."""
        random, blocks = np.random.default_rng(self.seed), range(0, len(self.dataset), self.block)
        ends = [min(start + self.block, len(self.dataset)) for start in blocks]
        return np.concatenate([at + random.permutation(end - at) for at, end in zip(blocks, ends, strict=True)])


@dataclass(frozen=True)
class Task:
    """A run to make: the name of a variant, the variant and a seed."""

    name: str
    variant: Variant
    seed: int


@dataclass(frozen=True)
class Outcome:
    """The results of a run. Accuracies are fractions, and losses are in nats."""

    name: str
    seed: int
    device: str
    accuracy: float  # on the test images
    batch_accuracy: float  # with batch norms that use the statistics of each test batch
    loss: float  # on the test images
    costs: tuple[float, ...]  # of the training batches in `LOGGED`
    accuracies: tuple[float, ...]  # of the same batches
    training: float  # seconds
    scoring: float  # seconds


def find_folder(data: Path) -> Path:
    """Return the folder of the binary files, which is `data` or a folder in it."""
    for path in sorted(data.rglob(FILES["train"][0])):
        return path.parent
    raise SystemExit(f"{data} has no {FILES['train'][0]}; give the folder of CIFAR-10's binary files")


def read_split(folder: Path | None, split: str, limit: int) -> ArrayDataset:
    """Return a split of CIFAR-10, or the first `limit` images of each of its files if `limit` is above 0.

    Without a folder, return images of noise.
    """
    if folder is None:
        rows = np.random.default_rng(0).integers(0, 256, (2 * TEST_BATCH, 3073), np.uint8)
        rows[:, 0] %= 10
    else:
        records = [np.fromfile(folder / name, np.uint8).reshape(-1, 3073)[: limit or None] for name in FILES[split]]
        rows = np.concatenate(records)
    images = np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    origin = Origin("cifar10", str(folder), "published")
    return ArrayDataset(images, OneOf(rows[:, 0].astype(np.int64)), CIFAR10.classes, tuple(FILES), split, origin)


class Worker:
    """A process that makes runs on one device, with the images in memory."""

    current: "Worker | None" = None

    def __init__(self, folder: Path | None, limit: int, device: str, threads: int) -> None:
        torch.backends.cudnn.allow_tf32 = False  # the book's float32 had 24 bits, and TensorFloat-32 has 11
        self.device, self.threads, self.context = device, threads, open_context()
        self.train, self.test = (read_split(folder, split, limit) for split in FILES)
        self.views = torch.from_numpy(self.test.array.transpose(0, 3, 1, 2)).contiguous()
        self.labels = torch.from_numpy(self.test.targets.numpy())

    def leg(self, variant: Variant, seed: int) -> Leg:
        """Return the recipe's only leg with the choices of a variant."""
        config = cifar10_resnet_adam()
        optimiser = PaddleAdam() if variant.epsilon else Adam()
        stages = (replace(config.stages[0], optimiser=optimiser),)
        model = replace(config.model, row={"bias": variant.bias})
        config = resolve_models(replace(config, model=model, stages=stages, seed=seed), self.context)
        splits = Splits(self.train, ("test",))
        (leg,) = plan(config, splits, Provenance(), Execution(workers=0), self.context, lambda *_: unreachable())
        if variant.buffer:
            values = {field.name: getattr(leg.loader, field.name) for field in fields(leg.loader)}
            leg = replace(leg, loader=BlockLoader(**values, block=variant.buffer))
        classifier = leg.make()
        self.adjust(classifier.network, variant, seed)
        return replace(leg, premade=classifier)

    def adjust(self, network: Network, variant: Variant, seed: int) -> None:
        """Change the initial weights and the batch norms of a network as a variant requires."""
        if variant.head:
            torch.manual_seed(seed)
            init_glorot(network.head)
        for layer in network.modules():
            if isinstance(layer, _BatchNorm):
                layer.momentum, layer.eps = variant.norm_momentum, variant.norm_epsilon

    def run(self, task: Task) -> Outcome:
        """Train for one epoch and score the test images."""
        arithmetic = Arithmetic("bf16", "nhwc") if task.variant.precision == "bf16" else Arithmetic()
        used = Runtime(self.device, self.threads, arithmetic)
        runtime.apply_runtime(used)
        leg, state = self.leg(task.variant, task.seed), State(used, task.seed)
        state.enter(leg)
        began, costs, accuracies = time.perf_counter(), [], []
        for number, batch in enumerate(leg.loader.batches(0)):
            event = step(leg, state, SingleProcess(), batch, time.monotonic())
            if not isinstance(event, StepEnd):
                raise SystemExit(f"{task.name}, seed {task.seed}: step {number} is not finite")
            if number in LOGGED:
                costs.append(event.main)
                accuracies.append(event.correct / event.images)
        trained = time.perf_counter()  # the last step has waited for the device
        scores = state.learner.classifier.scores(self.views)
        by_batch = self.batch_scores(state.learner.network)
        return Outcome(
            task.name, task.seed, self.device, self.accuracy(scores), self.accuracy(by_batch),
            nn.functional.cross_entropy(scores, self.labels).item(), tuple(costs), tuple(accuracies),
            trained - began, time.perf_counter() - trained,
        )  # fmt: skip

    def batch_scores(self, network: Network) -> torch.Tensor:
        """Return the test images' scores if batch norms use the statistics of each batch."""
        network.train()
        with torch.no_grad():
            return torch.cat([network(part.to(self.device)).float().cpu() for part in self.views.split(TEST_BATCH)])

    def accuracy(self, scores: torch.Tensor) -> float:
        """Return the fraction of test images whose label has the highest score."""
        return scores.argmax(1).eq(self.labels).double().mean().item()


def unreachable() -> Any:
    """Fail, because this benchmark scores images itself."""
    raise RuntimeError("the leg's scorer was called")


def begin_worker(*arguments: Any) -> None:
    """Make the worker of this process."""
    Worker.current = Worker(*arguments)


def run_task(task: Task) -> Outcome:
    """Make a run in this process."""
    if Worker.current is None:
        raise RuntimeError("call begin_worker first")
    return Worker.current.run(task)


def outcomes(tasks: Sequence[Task], processes: int, arguments: Sequence[Any]) -> Iterator[Outcome]:
    """Make all runs in parallel processes, and yield their results as they end."""
    spawn = get_context("spawn")  # CUDA does not survive a fork
    with ProcessPoolExecutor(processes, spawn, begin_worker, tuple(arguments)) as pool:
        yield from (future.result() for future in as_completed([pool.submit(run_task, task) for task in tasks]))


def read_runs(path: Path) -> list[Outcome]:
    """Return the runs in a file with a JSON object in each line."""
    if not path.exists():
        return []
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    return [Outcome(**{**run, "costs": tuple(run["costs"]), "accuracies": tuple(run["accuracies"])}) for run in runs]


def add_run(path: Path, outcome: Outcome) -> None:
    """Add a run to a file."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")


def summarise(found: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Return the statistics of each variant, scored in both ways. Accuracies are in percent."""
    scored: dict[str, dict[int, float]] = {}
    for outcome in found:
        scored.setdefault(outcome.name, {})[outcome.seed] = 100 * outcome.accuracy
        scored.setdefault(outcome.name + BATCH_STATISTICS, {})[outcome.seed] = 100 * outcome.batch_accuracy
    names = [name + way for way in ("", BATCH_STATISTICS) for name in VARIANTS if name + way in scored]
    base = scored.get(DEFAULT, {})
    return {name: {**spread(list(scored[name].values())), **difference(scored[name], base)} for name in names}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the mean, the sample standard deviation and the number of some values."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation, "runs": len(values)}


def difference(values: Mapping[int, float], base: Mapping[int, float]) -> dict[str, float]:
    """Return the mean difference from the default over common seeds, and half the width of its 95% interval."""
    pairs = [values[seed] - base[seed] for seed in sorted(values.keys() & base.keys())]
    if len(pairs) < 2 or values is base:
        return {}
    half = float(student.ppf(0.975, len(pairs) - 1)) * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return {"difference": statistics.fmean(pairs), "half_interval": half}


def table(found: Sequence[Outcome], summary: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'test accuracy in %':<40}{'mean':>7}{'std':>6}  difference (95% interval)"
    for name, row in summary.items():
        line = f"{name:<40}{row['mean']:7.2f}{row['std']:6.2f}"
        if "difference" in row:
            low, high = row["difference"] - row["half_interval"], row["difference"] + row["half_interval"]
            line += f"  {row['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
        yield line
    yield f"{'costs and accuracies of batches ' + ', '.join(map(str, LOGGED)):<47}{'test loss':>10}{'s a run':>9}"
    for name in VARIANTS:
        runs = [outcome for outcome in found if outcome.name == name]
        if runs:
            logged = zip(*((*o.costs, *o.accuracies) for o in runs), strict=True)
            values = [statistics.fmean(each) for each in logged]
            means = " ".join(f"{value:.2f}" for value in values)
            seconds = statistics.fmean(o.training + o.scoring for o in runs)
            yield f"{name:<20} {means:<26}{statistics.fmean(o.loss for o in runs):10.3f}{seconds:9.1f}"


def main() -> None:
    """Make the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int, default=0, help="default: 8 on a GPU, else 1")
    parser.add_argument("--threads", type=int, default=1, help="in each process")
    parser.add_argument("--limit", type=int, default=0, help="use only the first images of each file")
    parser.add_argument("--runs", type=Path, help="keep the runs in this file, and make only those that it lacks")
    given = parser.parse_args()
    folder = find_folder(given.data) if given.data else None
    gpu = given.device.startswith("cuda")
    processes = given.processes or (min(8, os.cpu_count() or 1) if gpu else 1)
    found = read_runs(given.runs) if given.runs else []
    done = {(outcome.name, outcome.seed) for outcome in found}
    tasks = [Task(name, VARIANTS[name], seed) for seed in range(given.seeds) for name in given.variants]
    tasks = [task for task in tasks if (task.name, task.seed) not in done]
    began = time.perf_counter()
    for number, outcome in enumerate(outcomes(tasks, processes, (folder, given.limit, given.device, given.threads)), 1):
        found.append(outcome)
        if given.runs:
            add_run(given.runs, outcome)
        print(f"{number} of {len(tasks)}: {outcome}", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - began
    card = torch.cuda.get_device_name() if gpu else "cpu"
    print(f"{card}, torch {torch.__version__}: {len(tasks)} runs in {seconds:.0f} s by {processes} processes")
    print("\n".join(table(found, summarise(found))))


if __name__ == "__main__":
    main()
