"""A learning rate that falls at given steps or epochs."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.config import Position, Schedule, multiply_count
from imclass.core.errors import require


@dataclass(frozen=True, kw_only=True)
class StepDecay(Schedule):
    """A schedule that multiplies the rate by `factor` after each step in `steps` and each epoch in `epochs`.

    He et al. 2015 used it with decreases after 32k and 48k steps (section 4.2). Xie et al. 2017 used it for ResNeXt,
    with a decrease every 30 epochs (section 4, and their released code).
    """

    kind: ClassVar[str] = "step"
    factor: Annotated[float, Above(0), Below(1)] = 0.1
    steps: Annotated[tuple[int, ...], AtLeast(0)] = ()  # the step numbers at which the rate decreases
    epochs: Annotated[tuple[int, ...], AtLeast(0)] = ()  # the numbers of finished epochs at which it decreases

    def check_together(self, at: str) -> None:
        """Raise `UserError` if the schedule has neither steps nor epochs, or both."""
        one = bool(self.steps) != bool(self.epochs)
        require(one, f"{at}steps", self.steps or "empty", "given without epochs, or left out in favour of epochs")

    def stretch(self, ratio: float) -> "StepDecay":
        """Return the schedule with its steps and epochs multiplied by `ratio`."""
        steps, epochs = (tuple(multiply_count(n, ratio) for n in counts) for counts in (self.steps, self.epochs))
        return replace(self, steps=steps, epochs=epochs)

    def share_at(self, position: Position) -> float:
        """Return `factor` to the power of the number of decreases so far."""
        done = sum(position.step >= step for step in self.steps)
        return self.factor ** (done + sum(position.epoch >= epoch for epoch in self.epochs))


SCHEDULES = {"step": StepDecay}
