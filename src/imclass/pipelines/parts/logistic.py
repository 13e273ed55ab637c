"""Logistic regression with an L2 penalty, whose strength is chosen by cross-validation.

The objective is that of scikit-learn's LogisticRegression: C times the sum of the losses in nats, plus half of the
sum of the squared weights. Biases are not penalised. If each image has one label, the regression is multinomial, with a
weight vector for every class. For two classes, scikit-learn's single weight vector gives the same result at 2C. If
images may have several labels, there is a binary regression for each class, and all of them use the same strength.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from imclass.core.bounds import Above, AtLeast
from imclass.pipelines.penalised import Choice, FoldedData, PenalisedScorer
from imclass.pipelines.quasi_newton import minimise
from imclass.pipelines.solvers.logistic import FOLDS, GRID, Scaling


@dataclass
class Logistic(PenalisedScorer):
    """Logistic regression on scaled features: multinomial, or binary for each class if images may have several.

    `grid` contains strengths C in ascending order. If there are several, the one with the lowest loss in a stratified
    cross-validation with `folds` folds is chosen. If a class has fewer than `folds` images, there are only as many
    folds as images of that class. With fewer than two folds, the middle strength is used.
    """

    kind: ClassVar[str] = "logistic"
    trial_gap: ClassVar[float] = 1e-4
    trial_precision: ClassVar[torch.dtype] = torch.float32  # its rounding errors are far smaller than the gap
    grid: Annotated[tuple[float, ...], Above(0)] = GRID
    folds: Annotated[int, AtLeast(1)] = FOLDS
    scaling: Scaling = "auto"

    def choices(self, data: FoldedData) -> Iterator[Choice]:
        """Yield the strength with the lowest loss. If there is nothing to choose, skip the cross-validation."""
        if len(self.grid) == 1 or data.held.all():  # the only fold holds out everything
            yield Choice(self.grid[len(self.grid) // 2])
        else:
            yield from super().choices(data)

    def fit_subsets(
        self,
        data: FoldedData,
        subsets: Float[Tensor, "S N"],
        strength: float,
        start: Float[Tensor, "S K E"] | None,
        gap: float,
    ) -> Float[Tensor, "S K E"]:
        """Return the weights of each class, fitted to each of S subsets of the images."""
        return minimise(data.loss, data.shares * subsets, strength, start, gap)

    def judge(self, data: FoldedData, found: Float[Tensor, "F K E"]) -> tuple[float, float]:
        """Return 1, because the scores need no scale, and the mean loss of each image in the fit that held it out."""
        losses = data.shares * data.held * data.loss.losses(data.loss.scores(found))
        return 1.0, losses.sum().item() / (data.shares * data.held.any(0)).sum().item()


PARTS = {"logistic": Logistic}
