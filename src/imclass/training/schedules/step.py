"""A learning rate that falls at given steps or epochs, and may begin lower."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, AtMost, Below
from imclass.core.config import Position, Schedule, multiply_count
from imclass.core.errors import require


@dataclass(frozen=True, kw_only=True)
class StepDecay(Schedule):
    """A schedule that multiplies the rate by `factor` after each step in `steps` or each epoch in `epochs`.

    He et al. 2015 used it with decreases after 32k and 48k steps (section 4.2). They trained 110 layers with a rate of
    0.01 until the training error was below 80%, which took about 400 steps. Here, `warm_rate` is used until the mean
    training error of a finished epoch is below `warm_error`. An epoch of CIFAR-10 has 391 steps. Xie et al. 2017
    trained ResNeXt with a decrease every 30 epochs (section 4, and their released code).
    """

    kind: ClassVar[str] = "step"
    factor: Annotated[float, Above(0), Below(1)] = 0.1
    steps: Annotated[tuple[int, ...], AtLeast(0)] = ()  # the step numbers at which the rate decreases
    epochs: Annotated[tuple[int, ...], AtLeast(0)] = ()  # the numbers of finished epochs at which the rate decreases
    warm_rate: Annotated[float, AtLeast(0)] = 0.0  # the rate until an epoch's training error is low; 0: not used
    warm_error: Annotated[float, Above(0), AtMost(1)] = 0.8  # the training error below which warm_rate ends

    def check_together(self, at: str) -> None:
        """Raise `UserError` unless there are either steps or epochs, or if `warm_rate` is above `rate`."""
        one = bool(self.steps) != bool(self.epochs)
        require(one, f"{at}steps", self.steps or "empty", f"given unless {at}epochs is, but not both")
        require(self.warm_rate <= self.rate, f"{at}warm_rate", self.warm_rate, f"at most the rate, {self.rate:g}")

    def stretch(self, ratio: float) -> "StepDecay":
        """Return the schedule with its steps and epochs multiplied by `ratio`."""
        steps, epochs = (tuple(multiply_count(n, ratio) for n in counts) for counts in (self.steps, self.epochs))
        return replace(self, steps=steps, epochs=epochs)

    def share_at(self, position: Position) -> float:
        """Return `factor` to the power of the number of decreases so far, or less while `warm_rate` is used."""
        done = [position.step >= step for step in self.steps] + [position.epoch >= epoch for epoch in self.epochs]
        share: float = self.factor ** sum(done)
        if self.warm_rate and all(error >= self.warm_error for error in position.errors):
            return min(share, self.warm_rate / self.rate)
        return share


SCHEDULES = {"step": StepDecay}
