"""The mean of the weights after many steps."""
# Tested in tests/training/test_averaging.py

from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import AtLeast, Below
from imclass.core.config import Average


@dataclass(frozen=True)
class Polyak(Average):
    """The mean of the weights after each step from a fraction `start` of the stage on.

    Polyak and Juditsky (SIAM Journal on Control and Optimization 30, 1992); GoogLeNet's final model is such a mean
    (Szegedy et al. 2014, section 6).
    """

    kind: ClassVar[str] = "polyak"
    start: Annotated[float, AtLeast(0), Below(1)] = 0.5  # fraction of the stage's steps before averaging begins

    def weight_after(self, done: int, steps: int, batches: int) -> float:
        """Return 1 / n after n averaged steps."""
        averaged = done - int(self.start * steps)
        return 1 / averaged if averaged > 0 else 0.0


AVERAGES = {"polyak": Polyak}
