"""A learning rate that falls at given steps."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.config import Position, Schedule


@dataclass(frozen=True, kw_only=True)
class StepDecay(Schedule):
    """A schedule that multiplies the rate by `factor` after each step listed in `steps`.

    He et al. 2015 used it with decreases after 32k and 48k steps (section 4.2).
    """

    kind: ClassVar[str] = "step"
    factor: Annotated[float, Above(0), Below(1)] = 0.1
    steps: Annotated[tuple[int, ...], AtLeast(0)]  # the step numbers at which the rate decreases

    def share_at(self, position: Position) -> float:
        """Return `factor` to the power of the number of decreases so far."""
        return self.factor ** sum(position.step >= step for step in self.steps)


SCHEDULES = {"step": StepDecay}
