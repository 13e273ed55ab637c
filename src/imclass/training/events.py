"""What happens in training, as frozen values; everything that watches a run consumes these."""
# Tested in tests/training/test_loop.py

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from imclass.core.contracts import Evaluation, Refused


@dataclass(frozen=True, order=True)
class RunPosition:
    """Where a run stands: what has been done so far. Steps count every batch, taken or skipped."""

    stage: int = 0
    epoch: int = 0  # finished epochs, over all stages
    batch: int = 0  # finished batches of the present epoch
    step: int = 0  # finished batches, over all stages
    samples: int = 0  # images learned from in the present stage


@dataclass(frozen=True)
class EpochStart:
    """An epoch begins, or goes on in the middle after a resume (`at.batch` > 0)."""

    at: RunPosition
    epochs: int  # of the whole run
    batches: int  # of this epoch
    counted: str = "top1"  # the measure that is the share of the images that its steps count as correct


@dataclass(frozen=True)
class StepEnd:
    """One update was made from `images` images. Losses are means over them, in nats."""

    at: RunPosition
    main: float  # of the scores that are evaluated too
    total: float  # what is minimised: with auxiliary heads, each with its weight
    correct: int
    images: int
    rate: float
    waited: float  # seconds for data
    seconds: float  # for the whole step, waiting included
    refused: tuple[Refused, ...] = ()
    alone: tuple[str, ...] = ()  # images left out, each the only one left of its part, under batch norm


@dataclass(frozen=True)
class Evaluated:
    """A split was scored. Validation may choose the weights; test never does."""

    at: RunPosition
    result: Evaluation
    split: str
    best: bool = False


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written; or could not be, for the reason `problem`, and training goes on."""

    at: RunPosition
    path: Path
    problem: str = ""


@dataclass(frozen=True)
class NonFinite:
    """A loss, gradient or weight is not finite, after a step from the images `names`."""

    at: RunPosition
    what: str
    names: tuple[str, ...]
    action: Literal["stop", "skip"]


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is over: means over its images, and where the time went."""

    at: RunPosition
    main: float
    measures: Mapping[str, float]  # the share of correct images, by its name: top1, or exact for several labels
    images: int
    refused: int
    total: float


@dataclass(frozen=True)
class LegEnd:
    """A leg is over: its chosen weights are in the model file at `path`, with their scores by split."""

    at: RunPosition  # where the next leg begins
    name: str
    path: Path
    chosen: str  # the weights that were kept, in words
    metrics: Mapping[str, Mapping[str, int | float]]


Event: TypeAlias = EpochStart | StepEnd | Evaluated | Saved | NonFinite | EpochEnd | LegEnd


def summarise_evaluation(result: Evaluation) -> dict[str, int | float]:
    """Return the numbers of an evaluation that a log and a model file keep."""
    shares = {name: value for name, value in result.measures.items() if name != "loss"}
    counts = {"evaluated": len(result.targets), "total": result.total}
    return shares | {"loss": result.measures["loss"]} | counts


@runtime_checkable
class Consumer(Protocol):
    """Anything that watches a run."""

    def see(self, event: Event) -> None: ...

    def close(self) -> None: ...
