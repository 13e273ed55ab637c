"""PaddlePaddle's "discexp" schedule of 2016."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.config import Position, Schedule


@dataclass(frozen=True, kw_only=True)
class DiscreteExponential(Schedule):
    """A schedule that multiplies the rate by a ** floor(n / b) after n images, with a = `factor` and b = `every`."""

    kind: ClassVar[str] = "discrete-exponential"
    factor: Annotated[float, Above(0), Below(1)] = 0.1
    every: Annotated[int, AtLeast(1)]  # the number of images between two decreases

    def share_at(self, position: Position) -> float:
        """Return `factor` to the power of the number of decreases so far: one for every `every` images."""
        return float(self.factor ** (position.samples // self.every))


SCHEDULES = {"discrete-exponential": DiscreteExponential}
