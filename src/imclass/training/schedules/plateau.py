"""A learning rate that falls when the results on validation images stop improving."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.config import Position, Schedule, multiply_count


@dataclass(frozen=True, kw_only=True)
class Plateau(Schedule):
    """A schedule that multiplies the rate by `factor` after `patience` evaluations in a row without a better result.

    AlexNet (Krizhevsky et al., NIPS 2012, section 5) and VGG (Simonyan and Zisserman, ICLR 2015, section 3.1) were
    trained in this way, both with three decreases.
    """

    kind: ClassVar[str] = "plateau"
    needs_validation: ClassVar[bool] = True
    factor: Annotated[float, Above(0), Below(1)] = 0.1
    patience: Annotated[int, AtLeast(1)] = 5  # evaluations
    falls: Annotated[int, AtLeast(0)] = 0  # the largest number of decreases; 0: no limit

    def stretch(self, ratio: float) -> "Plateau":
        """Return the schedule with `ratio` times the patience, because a stage is evaluated once an epoch."""
        return replace(self, patience=multiply_count(self.patience, ratio))

    def share_at(self, position: Position) -> float:
        """Return `factor` to the power of the number of decreases so far."""
        best, waited, falls = -math.inf, 0, 0
        for accuracy in position.history:
            waited = 0 if accuracy > best else waited + 1
            best = max(best, accuracy)
            if waited == self.patience:
                waited, falls = 0, falls + 1
        return float(self.factor ** (min(falls, self.falls) if self.falls else falls))


SCHEDULES = {"plateau": Plateau}
