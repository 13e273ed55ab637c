"""Stochastic weight averaging."""
# Tested in tests/training/test_averaging.py

from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import AtLeast, Below
from imclass.core.config import Average


@dataclass(frozen=True)
class StochasticAverage(Average):
    """The mean of the weights at the ends of epochs, from a fraction `start` of the stage on.

    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018, algorithm 1 with one
    model per epoch. Before the averaged weights are scored, a pass over the training images measures the statistics of
    their batch norms.
    """

    kind: ClassVar[str] = "swa"
    remeasures: ClassVar[bool] = True
    start: Annotated[float, AtLeast(0), Below(1)] = 0.75  # fraction of the stage's epochs before averaging begins

    def weight_after(self, done: int, steps: int, batches: int) -> float:
        """Return 1 / n at the end of the n-th averaged epoch, and 0 within epochs."""
        epoch, within = divmod(done, batches)
        averaged = epoch - int(self.start * (steps // batches))
        return 1 / averaged if averaged > 0 and not within else 0.0


AVERAGES = {"swa": StochasticAverage}
