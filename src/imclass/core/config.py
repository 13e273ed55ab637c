"""What a recipe returns: one frozen value with every choice in it."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from imclass.core.errors import need
from imclass.core.preprocess import Preprocess

FORMAT = 2  # of a run's config.json


@dataclass(frozen=True)
class Model:
    """Which network, its size, and what it subtracts and divides by (of images in [0, 1], a value a channel)."""

    network: str
    row: dict[str, Any] = field(default_factory=dict)  # what differs from the network's row in its table
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    mean_image: bool = False  # subtract the mean of the training images, pixel by pixel, instead of `mean`
    initialiser: str = ""  # how weights begin: glorot, he, vgg or alexnet; empty for the network's own way


@dataclass(frozen=True)
class Optimiser:
    """SGD with momentum, or Adam. `weight_decay` is added to the gradient, as the papers do; biases are decayed too."""

    name: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a pure function of position and history; `training/schedules.py` uses these fields."""

    name: Literal["constant", "step", "discrete-exponential", "plateau", "cosine", "triangular"] = "constant"
    rate: float = 0.1  # the highest rate
    final: float = 0.0  # cosine and triangular end here, as a share of `rate`
    warmup: int = 0  # steps that climb linearly from 0 to the schedule
    factor: float = 0.1  # step, discrete-exponential, plateau: multiply by this
    steps: tuple[int, ...] = ()  # step: after these many steps
    every: int = 0  # discrete-exponential: samples between two falls
    patience: int = 5  # plateau: evaluations without a better validation accuracy
    peak: float = 0.25  # triangular: share of the stage at which the rate is highest


@dataclass(frozen=True)
class Augment:
    """What a training image may undergo. Each random choice follows (seed, epoch, sample), nothing else."""

    flip: bool = False  # left-right, with probability 1/2
    pad: int = 0  # pad by so many pixels of the rounded mean, then crop back at random (He et al. 2015, section 4.2)
    area: tuple[float, float] = (1.0, 1.0)  # a crop of this share of the image's area (GoogLeNet: 0.08 to 1) ...
    aspect: tuple[float, float] = (1.0, 1.0)  # ... and this ratio of width to height (GoogLeNet: 3/4 to 4/3)


@dataclass(frozen=True)
class Stage:
    """One stretch of training: epochs under one optimiser and schedule. A chain of stages passes its weights on."""

    epochs: int = 1
    batch: int = 128
    micro_batches: int = 1  # logical parts of a step, whatever the number of processes
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    augment: Augment = Augment()


@dataclass(frozen=True)
class Share:
    """A split of a folder that has none: of each class, a share is held out for testing and the rest is trained on."""

    kind: ClassVar[str] = "share"
    test: float = 0.2  # rounded to whole images, at least one of two


@dataclass(frozen=True)
class Training:
    """A training run: every choice that decides its result. A recipe returns one.

    `device` and `precision` are wishes. A run resolves them when it begins and keeps the answer as its `Runtime`.
    """

    recipe: str
    model: Model
    stages: tuple[Stage, ...]
    preprocess: Preprocess
    data: str
    split: Share = Share()
    split_seed: int = 0  # decides which images are held out, and nothing else; `seed` does not
    seed: int = 0
    device: str = "auto"  # cpu, cuda, cuda:N or mps; auto takes CUDA where there is one
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # auto: what is fastest here and computes the same
    nonfinite: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Execution:
    """How a run is carried out. Nothing here decides its result, so all of it may differ when a run goes on."""

    workers: int = 2  # decoding threads; 0 decodes in the main thread
    memory: int = 2048  # MiB: a data set that needs less than this at the network's size is kept decoded
    save_every: int = 60  # seconds between two checkpoints; each epoch's end saves as well
    keep: int = 2  # checkpoints kept
    strict: bool = False  # a refused image is an error
    plugins_changed: bool = False  # go on though a plugin that defines what the run uses has changed

    def __post_init__(self) -> None:
        need(self.workers >= 0, "workers", self.workers, "0 or more threads")
        need(self.memory >= 0, "memory", self.memory, "0 or more MiB")
        need(self.keep >= 2, "keep", self.keep, "at least 2: one is the fallback of the other")
        need(self.save_every >= 0, "save_every", self.save_every, "0 or more seconds")


def check(config: Training) -> None:
    """Numbers that cannot be trained with are a `UserError` that names the field and what it may be."""
    need(len(config.stages) >= 1, "stages", len(config.stages), "at least one stage")
    for i, stage in enumerate(config.stages):
        check_stage(stage, f"stages.{i}." if len(config.stages) > 1 else "")
    need(0 <= config.seed < 2**63, "seed", config.seed, "from 0 up to 2**63")
    need(0 <= config.split_seed < 2**63, "split_seed", config.split_seed, "from 0 up to 2**63")
    need(0 < config.split.test < 1, "split.test", config.split.test, "between 0 and 1")
    mean, std = config.model.mean, config.model.std
    need(len(mean) in (1, config.preprocess.w_in), "model.mean", mean, "1 value, or one a channel")
    need(len(mean) == len(std), "model.std", std, "as many values as model.mean")
    need(all(0 < s < math.inf for s in std), "model.std", std, "positive numbers")


def check_stage(stage: Stage, at: str) -> None:
    """The same for one stage; `at` is what its keys begin with."""
    need(stage.epochs >= 1, f"{at}epochs", stage.epochs, "at least 1")
    need(stage.batch >= 1, f"{at}batch", stage.batch, "at least 1")
    need(1 <= stage.micro_batches <= stage.batch, f"{at}micro_batches", stage.micro_batches, "from 1 to the batch")
    optimiser, schedule, augment = stage.optimiser, stage.schedule, stage.augment
    need(0 <= optimiser.momentum < 1, f"{at}optimiser.momentum", optimiser.momentum, "from 0 up to 1")
    need(all(0 <= b < 1 for b in optimiser.betas), f"{at}optimiser.betas", optimiser.betas, "two, from 0 up to 1")
    need(0 < optimiser.eps < math.inf, f"{at}optimiser.eps", optimiser.eps, "a positive number")
    decay = optimiser.weight_decay
    need(0 <= decay < math.inf, f"{at}optimiser.weight_decay", decay, "0 or more")
    need(0 < schedule.rate <= 1e6, f"{at}schedule.rate", schedule.rate, "a positive number, at most a million")
    need(0 <= schedule.final <= 1, f"{at}schedule.final", schedule.final, "a share of the rate, from 0 to 1")
    need(schedule.warmup >= 0, f"{at}schedule.warmup", schedule.warmup, "0 or more steps")
    need(0 < schedule.factor < 1, f"{at}schedule.factor", schedule.factor, "between 0 and 1")
    falls = schedule.name == "discrete-exponential"
    need(not falls or schedule.every > 0, f"{at}schedule.every", schedule.every, "at least 1 sample")
    need(schedule.patience >= 1, f"{at}schedule.patience", schedule.patience, "at least 1 evaluation")
    need(0 < schedule.peak < 1, f"{at}schedule.peak", schedule.peak, "between 0 and 1")
    need(augment.pad >= 0, f"{at}augment.pad", augment.pad, "0 or more pixels")
    (low, high), shares = augment.area, "two shares of the area, 0 < low <= high <= 1"
    need(0 < low <= high <= 1, f"{at}augment.area", augment.area, shares)
    low, high = augment.aspect
    need(0 < low <= high < math.inf, f"{at}augment.aspect", augment.aspect, "two ratios, 0 < low <= high")
