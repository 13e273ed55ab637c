"""A learning rate that falls when the results on validation images stop improving."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.config import Position, Schedule


@dataclass(frozen=True, kw_only=True)
class Plateau(Schedule):
    """A schedule that multiplies the rate by `factor` after `patience` evaluations in a row without a better result.

    VGG was trained in this way (section 3.1).
    """

    kind: ClassVar[str] = "plateau"
    needs_validation: ClassVar[bool] = True
    factor: Annotated[float, Above(0), Below(1)] = 0.1
    patience: Annotated[int, AtLeast(1)] = 5  # evaluations

    def share_at(self, position: Position) -> float:
        """Return `factor` to the power of the number of decreases so far."""
        best, waited, falls = -math.inf, 0, 0
        for accuracy in position.history:
            waited = 0 if accuracy > best else waited + 1
            best = max(best, accuracy)
            if waited == self.patience:
                waited, falls = 0, falls + 1
        return float(self.factor**falls)


SCHEDULES = {"plateau": Plateau}
