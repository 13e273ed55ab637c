"""Training events: immutable values that a run passes to all objects that watch it."""
# Tested in tests/training/test_loop.py

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from imclass.core.contracts import Evaluation, Refused


@dataclass(frozen=True, order=True)
class RunPosition:
    """A position in a run. Skipped batches count as steps."""

    stage: int = 0
    epoch: int = 0  # finished epochs, over all stages
    batch: int = 0  # finished batches of the current epoch
    step: int = 0  # finished batches, over all stages
    samples: int = 0  # images learned from in the current stage


@dataclass(frozen=True)
class EpochStart:
    """The beginning of an epoch, or its continuation if the run was resumed (`at.batch` > 0)."""

    at: RunPosition
    epochs: int  # of the run
    batches: int  # of this epoch
    counted: str = "top1"  # the name of the measure for the fraction of correct images


@dataclass(frozen=True)
class StepStart:
    """The beginning of a step of gradient descent, after its images have been loaded. The log leaves it out."""

    at: RunPosition  # before the step
    rate: float


@dataclass(frozen=True)
class StepEnd:
    """The end of a step that learned from `images` images. Losses are means over these images, in nats."""

    at: RunPosition
    main: float  # the loss of the main scores, comparable with that on held-out images unless targets are soft
    total: float  # the loss to minimise, which includes the weighted losses of auxiliary heads
    correct: int
    images: int
    rate: float
    waited: float  # seconds spent waiting for data
    seconds: float  # of the step, including the wait
    refused: tuple[Refused, ...] = ()
    alone: tuple[str, ...] = ()  # names of images left out because batch norm cannot learn from a part of one image


@dataclass(frozen=True)
class FeatureBatch:
    """Progress of a solver: the features of one batch of training images have been computed and stored."""

    at: RunPosition
    done: int  # images that have features, even from earlier runs, or were refused
    total: int  # training images
    images: int  # in this batch
    seconds: float
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class Solved:
    """The result of a solver that has fitted the last layer."""

    at: RunPosition
    solver: str  # its kind
    images: int  # the number of images that it was fitted to
    facts: Mapping[str, Any]  # its choices, such as {"strength": 0.01, "folds": 5}; without cross-validation, 0 folds


@dataclass(frozen=True)
class TaskProgress:
    """Progress of a task in the fit of a pipeline. An event follows at most every half second."""

    at: RunPosition  # `stage` counts tasks
    task: str  # such as "sample descriptors" or "fit fisher"
    done: int
    total: int
    unit: str  # of `done` and `total`: "images" or "steps"
    computed: int  # of `done`: how many were not finished in advance, because the store had them
    seconds: float  # since the task began
    refused: tuple[Refused, ...] = ()  # images, since the previous event


@dataclass(frozen=True)
class PartFitted:
    """A part of a pipeline that has been fitted, or whose learned arrays the store had."""

    at: RunPosition
    part: str  # its kind
    seconds: float
    stored: bool  # whether the arrays come from the store
    facts: Mapping[str, Any]  # the choices that the part made


@dataclass(frozen=True)
class Evaluated:
    """The scores of a split. The validation split may be used to choose the weights; the test split never is."""

    at: RunPosition
    result: Evaluation
    split: str
    best: bool = False
    averaged: bool = False  # whether the weights that were scored are an average of the weights in training


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was written or, if `problem` is set, could not be written.

    Training continues in either case.
    """

    at: RunPosition
    path: Path
    problem: str = ""


@dataclass(frozen=True)
class NonFinite:
    """A step in which the loss, a gradient or a weight was not finite. `names` lists the images of the step."""

    at: RunPosition
    what: str
    names: tuple[str, ...]
    action: Literal["stop", "skip"]


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch, with means over its images."""

    at: RunPosition
    main: float
    measures: Mapping[str, float]  # the fraction of correct images, keyed by measure: top1, or exact for several labels
    images: int
    refused: int
    total: float


@dataclass(frozen=True)
class LegEnd:
    """The end of a leg. The chosen weights are in the model file at `path`."""

    at: RunPosition  # where the next leg begins
    name: str
    path: Path
    chosen: str  # a description of the weights that were kept
    metrics: Mapping[str, Mapping[str, int | float]]


@dataclass(frozen=True)
class DivisionEnd:
    """The end of a run of a series: of a fold of a cross-validation, or of one of several random splits.

    Runs that an earlier call finished are included.
    """

    at: RunPosition  # the end of the run, or the start of a run if an earlier call finished it
    number: int  # from 1
    divisions: int
    path: Path  # the folder of the run
    result: Evaluation  # of the test images of this division, scored by the run's model


Event: TypeAlias = (
    EpochStart
    | StepStart
    | StepEnd
    | FeatureBatch
    | Solved
    | TaskProgress
    | PartFitted
    | Evaluated
    | Saved
    | NonFinite
    | EpochEnd
    | LegEnd
    | DivisionEnd
)


def summarise_evaluation(result: Evaluation) -> dict[str, int | float]:
    """Return an evaluation's measures and counts for logs and model files."""
    shares = {name: value for name, value in result.measures.items() if name != "loss"}
    counts = {"evaluated": len(result.targets), "total": result.total}
    return shares | {"loss": result.measures["loss"]} | counts


@runtime_checkable
class Consumer(Protocol):
    """An object that watches a run."""

    def see(self, event: Event) -> None: ...

    def close(self) -> None: ...
