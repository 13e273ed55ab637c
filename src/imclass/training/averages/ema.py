"""An average that forgets early weights exponentially."""
# Tested in tests/training/test_averaging.py

from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import AtLeast, Below
from imclass.core.config import Average


@dataclass(frozen=True)
class ExponentialAverage(Average):
    """The mean of the weights after all steps so far, in which each step counts `decay` times as much as the next.

    The weights before the first step do not count: dividing by 1 - decay^t removes the bias towards them, as in Adam
    (Kingma and Ba, ICLR 2015, section 3). The average of t steps is the sum of (1 - decay) decay^(t - s) w_s over the
    steps s, divided by 1 - decay^t. With `decay` 0, it is the current weights.
    """

    kind: ClassVar[str] = "ema"
    decay: Annotated[float, AtLeast(0), Below(1)] = 0.999  # 0.999 remembers about 1,000 steps; 0: no average

    def weight_after(self, done: int, steps: int, batches: int) -> float:
        """Return (1 - decay) / (1 - decay^done), with which the recursion gives the average without bias."""
        return (1 - self.decay) / (1 - self.decay**done)


AVERAGES = {"ema": ExponentialAverage}
