"""Logistic regression with an L2 penalty, whose strength is chosen by cross-validation.

The objective is that of scikit-learn's LogisticRegression: C times the sum of the losses in nats, plus half of the
sum of the squared weights. Biases are not penalised. If each image has one label, the regression is multinomial, with a
weight vector for every class. For two classes, scikit-learn's single weight vector gives the same result at 2C. If
images may have several labels, there is a binary regression for each class, and all of them use the same strength.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from imclass.core.bounds import Above, AtLeast
from imclass.core.targets import Targets
from imclass.pipelines.penalised import PenalisedScorer, PrincipalAxes, check_counts, class_marks, solver_folds
from imclass.pipelines.quasi_newton import LogisticLoss, minimise
from imclass.pipelines.solvers.logistic import FOLDS, GRID, LogisticSolver

# The search ends after this many strengths in a row that are worse than the best, because weak penalties take the most
# iterations.
WORSE_IN_A_ROW = 2
TRIAL_GAP, FINAL_GAP = 1e-5, 1e-12  # `gap` of `minimise` in cross-validation and in the final fit


@dataclass
class Logistic(PenalisedScorer):
    """Logistic regression on standardised features: multinomial, or binary for each class if images may have several.

    `grid` contains strengths C in ascending order. If there are several, the one with the lowest loss in a stratified
    cross-validation with `folds` folds is chosen. If a class has fewer than `folds` images, there are only as many
    folds as images of that class. With fewer than two folds, the middle strength is used.
    """

    kind: ClassVar[str] = "logistic"
    grid: Annotated[tuple[float, ...], Above(0)] = GRID
    folds: Annotated[int, AtLeast(1)] = FOLDS

    def fit(
        self,
        x: Float[np.ndarray, "N D"],
        targets: Targets,
        classes: int,
        weights: Float[np.ndarray, "N"] | None = None,
    ) -> "Logistic":
        """Standardise the features, choose the strength, fit the model to all images, and return the part.

        `weights` contains the factor for each image's loss, in cross-validation as well. The factors do not affect how
        the features are standardised.
        """
        check_counts(targets, classes, LogisticSolver.min_images)
        axes = PrincipalAxes(x)
        loss = LogisticLoss(axes.rows, *class_marks(targets, classes), targets.link)
        shares = torch.ones(len(x)).double() if weights is None else torch.from_numpy(weights).double()
        groups = solver_folds(targets, classes, self.folds)
        used = int(groups.max()) + 1
        if len(self.grid) == 1 or used < 2:
            used, strength, start = 0, self.grid[len(self.grid) // 2], None
            losses: list[float] = []
        else:
            strength, losses, start = choose_strength(loss, shares, self.grid, groups)
        (found,) = minimise(loss, shares[None], strength, start, FINAL_GAP)
        self.weights_, self.biases_ = (array.numpy() for array in axes.undo(found))
        self.sigmoid_, self.strength_ = np.array(targets.link == "sigmoid"), np.array(strength)
        self.losses_, self.folds_ = np.array(losses), np.array(used)
        self.set_link()
        return self


def choose_strength(
    loss: LogisticLoss, shares: Float[Tensor, "N"], grid: tuple[float, ...], groups: Int64[np.ndarray, "N"]
) -> tuple[float, list[float], Float[Tensor, "1 K E"]]:
    """Return the strength with the lowest loss on held-out folds, the loss at each strength, and weights to start from.

    The final fit to all images starts from these weights, which are near its minimum. In the same way, each fit here
    starts from the weights of the previous one, which had a stronger penalty. `shares` contains the factor for each
    image's loss.
    """
    held = functional.one_hot(torch.from_numpy(groups)).double().T.contiguous()
    losses: list[float] = []
    found: Float[Tensor, "F K E"] | None = None
    best = torch.zeros(0)
    for strength in grid:
        found = minimise(loss, shares * (1 - held), strength, found, TRIAL_GAP)
        losses.append((shares * held * loss.losses(loss.scores(found))).sum().item() / shares.sum().item())
        if losses[-1] == min(losses):
            best = found.mean(0, keepdim=True)
        elif len(losses) - 1 - int(np.argmin(losses)) >= WORSE_IN_A_ROW:
            break
    return grid[int(np.argmin(losses))], losses, best


PARTS = {"logistic": Logistic}
