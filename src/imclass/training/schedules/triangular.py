"""Smith, "Cyclical learning rates for training neural networks", arXiv:1506.01186."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, AtMost, Below
from imclass.core.config import Position, Schedule


@dataclass(frozen=True, kw_only=True)
class Triangular(Schedule):
    """A schedule that rises linearly from 0 to 1, then falls linearly to `final`.

    The highest rate is reached at the fraction `peak` of the stage.
    """

    kind: ClassVar[str] = "triangular"
    final: Annotated[float, AtLeast(0), AtMost(1)] = 0.0  # the last rate, as a fraction of `rate`
    peak: Annotated[float, Above(0), Below(1)] = 0.25  # the fraction of the stage at which the rate is highest

    def share_at(self, position: Position) -> float:
        """Return the height of the triangle at the current step."""
        done = (position.step + 1) / max(1, position.steps)  # the first step has a rate above 0, the last has `final`
        if done <= self.peak:
            return done / self.peak
        return 1 - (1 - self.final) * (done - self.peak) / (1 - self.peak)


SCHEDULES = {"triangular": Triangular}
