"""A learning rate that falls by the same factor every few epochs."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.config import Position, Schedule, multiply_count


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """A schedule that multiplies the rate by `factor` after each `every` epochs.

    GoogLeNet was trained in this way, with a decrease of 4% every 8 epochs (Szegedy et al., CVPR 2015, section 6).
    """

    kind: ClassVar[str] = "exponential"
    factor: Annotated[float, Above(0), Below(1)] = 0.96
    every: Annotated[int, AtLeast(1)] = 8  # epochs between two decreases

    def stretch(self, ratio: float) -> "Exponential":
        """Return the schedule with `ratio` times as many epochs between two decreases."""
        return replace(self, every=multiply_count(self.every, ratio))

    def share_at(self, position: Position) -> float:
        """Return `factor` to the power of the number of decreases so far."""
        return float(self.factor ** (position.epoch // self.every))


SCHEDULES = {"exponential": Exponential}
