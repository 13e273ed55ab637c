"""Linear support vector machines with the squared hinge loss, whose scores are calibrated by cross-validation.

There is a machine for each class, which separates its images from all others. The objective of a machine is that of
LIBLINEAR (Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 2008, L2-regularised L2-loss): C
times the sum of the squared hinge losses, plus half of the sum of the squared weights. Biases are not penalised.
LIBLINEAR, and therefore scikit-learn's LinearSVC, penalises them as well, but less for a larger `intercept_scaling`.

A margin is not a log-probability. All weights and biases are therefore multiplied by one scale, which changes no
prediction (temperature scaling: Guo et al., "On calibration of modern neural networks", ICML 2017). The scale is
fitted to the margins of images in held-out folds, because the margins of training images are too large.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from imclass.core.bounds import Above, AtLeast
from imclass.core.targets import Targets
from imclass.pipelines.penalised import PenalisedScorer, PrincipalAxes, check_counts, class_marks, solver_folds
from imclass.pipelines.quasi_newton import LogisticLoss, SquaredHingeLoss, minimise
from imclass.pipelines.solvers.linear_svm import SVM_GRID, LinearSvmSolver
from imclass.pipelines.solvers.logistic import FOLDS

# `gap` of `minimise` in cross-validation and in the final fit. Even the first is small: strong penalties lead to short
# weight vectors, and the scale that enlarges these also enlarges the errors of the biases.
TRIAL_GAP, FINAL_GAP = 1e-10, 1e-12
# The search ends after two strengths in a row whose losses exceed this multiple of the lowest loss, because weak
# penalties take the most iterations. A better strength may follow a smaller increase, because scaled margins are usable
# at any strength.
MUCH_WORSE = 1.05
SCALES = (1e-3, 1e6)  # bounds of the scale
BISECTIONS = 60  # of the interval between them


@dataclass
class LinearSvm(PenalisedScorer):
    """Support vector machines on standardised features, one for each class.

    `grid` contains strengths C in ascending order. The one whose scaled margins have the lowest cross-entropy in a
    stratified cross-validation with `folds` folds is chosen. Unlike the accuracy, the cross-entropy is rarely equal for
    two strengths, even if there are few images. If a class has fewer than `folds` images, there are only as many folds
    as images of that class.
    """

    kind: ClassVar[str] = "linear-svm"
    learned: ClassVar[tuple[str, ...]] = (*PenalisedScorer.learned, "scale_")
    grid: Annotated[tuple[float, ...], Above(0)] = SVM_GRID
    folds: Annotated[int, AtLeast(2)] = FOLDS

    def fit(
        self,
        x: Float[np.ndarray, "N D"],
        targets: Targets,
        classes: int,
        weights: Float[np.ndarray, "N"] | None = None,
    ) -> "LinearSvm":
        """Standardise the features, choose the strength and the scale, fit all images, and return the part.

        `weights` contains the factor for each image's loss, in cross-validation as well. The factors do not affect how
        the features are standardised.
        """
        check_counts(targets, classes, LinearSvmSolver.min_images)
        axes, (wanted, judged) = PrincipalAxes(x), class_marks(targets, classes)
        shares = torch.ones(len(x)).double() if weights is None else torch.from_numpy(weights).double()
        machines = Machines(axes.rows, 2 * wanted - 1, shares * judged)
        calibration = Calibration(LogisticLoss(axes.rows, wanted, judged, targets.link), shares)
        held = functional.one_hot(torch.from_numpy(solver_folds(targets, classes, self.folds))).double().T
        losses: list[float] = []
        found, best, scale, strength = None, None, 1.0, self.grid[0]
        for trial in self.grid:
            found = machines.fit(1 - held, trial, found, TRIAL_GAP)
            trial_scale, loss = calibration.fit(machines.held_out_margins(held, found))
            if loss < min(losses, default=torch.inf):
                best, scale, strength = found.mean(0, keepdim=True), trial_scale, trial
            losses.append(loss)
            if min(losses[-2:]) > MUCH_WORSE * min(losses):
                break
        (final,) = machines.fit(torch.ones_like(held[:1]), strength, best, FINAL_GAP)
        self.weights_, self.biases_ = (scale * array.numpy() for array in axes.undo(final))
        self.sigmoid_, self.strength_, self.scale_ = map(np.array, (targets.link == "sigmoid", strength, scale))
        self.losses_, self.folds_ = np.array(losses), np.array(len(held))
        self.set_link()
        return self

    def facts(self) -> dict[str, Any]:
        """Return the strength, the number of folds, the scale, and the cross-entropy at each strength tried."""
        return {"scale": self.scale_.item(), **super().facts()}


@dataclass(frozen=True, eq=False)
class Machines:
    """The machines of all classes, fitted together to F subsets of the images."""

    rows: Float[Tensor, "N E"]
    signs: Float[Tensor, "K N"]  # 1 for each class that an image has, and -1 for the others
    shares: Float[Tensor, "K N"]  # the factor for each image's loss; 0 if it is not known whether it has the class

    def fit(
        self, subsets: Float[Tensor, "F N"], strength: float, start: Float[Tensor, "F K E"] | None, gap: float
    ) -> Float[Tensor, "F K E"]:
        """Return the weights of each machine. The iterations of a machine do not depend on the others."""
        loss = SquaredHingeLoss(self.rows, self.signs.repeat(len(subsets), 1))
        shares = (subsets[:, None] * self.shares).flatten(0, 1)
        start = None if start is None else start.flatten(0, 1)[:, None]
        return minimise(loss, shares, strength, start, gap)[:, 0].unflatten(0, (len(subsets), len(self.signs)))

    def held_out_margins(self, held: Float[Tensor, "F N"], found: Float[Tensor, "F K E"]) -> Float[Tensor, "K N"]:
        """Return the margins of each image in the fit that held it out."""
        return (held[:, None] * (found @ self.rows.T)).sum(0)


class Calibration:
    """The choice of a common scale that minimises the cross-entropy of all margins.

    If all N images are classified correctly, the cross-entropy decreases without end as the scale grows. When the scale
    is fitted, each label is therefore replaced by fractions: (N + 1) / (N + K) for this label, and 1 / (N + K) for each
    of the K - 1 others (Platt, "Probabilistic outputs for support vector machines", 1999, where K is 2). The loss that
    is returned is that of the true labels.
    """

    def __init__(self, loss: LogisticLoss, shares: Float[Tensor, "N"]) -> None:
        self.loss, self.shares = loss, shares
        images, choices = len(shares), len(loss.wanted) if loss.link == "softmax" else 2
        self.smooth = replace(loss, wanted=(images * loss.wanted + 1) / (images + choices))

    def fit(self, margins: Float[Tensor, "K N"]) -> tuple[float, float]:
        """Return the scale, and the mean cross-entropy of the scaled margins, in nats.

        The cross-entropy is convex, so bisection finds the scale at which its slope is 0.
        """
        low, high = SCALES
        for _ in range(BISECTIONS):
            scale = (low * high) ** 0.5
            rising = (self.shares * self.smooth.errors(scale * margins[None])[0] * margins).sum() > 0
            low, high = (low, scale) if rising else (scale, high)
        losses = self.loss.losses(scale * margins[None])[0]
        return scale, ((self.shares * losses).sum() / self.shares.sum()).item()


PARTS = {"linear-svm": LinearSvm}
