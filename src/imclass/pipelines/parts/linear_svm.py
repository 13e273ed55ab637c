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

from jaxtyping import Float
from torch import Tensor

from imclass.core.bounds import Above, AtLeast
from imclass.pipelines.penalised import FoldedData, PenalisedScorer
from imclass.pipelines.quasi_newton import LogisticLoss, SquaredHingeLoss, minimise
from imclass.pipelines.solvers.linear_svm import SVM_GRID
from imclass.pipelines.solvers.logistic import FOLDS, Scaling

SCALES = (1e-3, 1e6)  # bounds of the scale
BISECTIONS = 60  # of the interval between them


@dataclass
class LinearSvm(PenalisedScorer):
    """Support vector machines on scaled features, one for each class.

    `grid` contains strengths C in ascending order. The one whose scaled margins have the lowest cross-entropy in a
    stratified cross-validation with `folds` folds is chosen. Unlike the accuracy, the cross-entropy is rarely equal for
    two strengths, even if there are few images. If a class has fewer than `folds` images, there are only as many folds
    as images of that class.
    """

    kind: ClassVar[str] = "linear-svm"
    # Even this is small: strong penalties lead to short weight vectors, and the scale that enlarges these also enlarges
    # the errors of the biases.
    trial_gap: ClassVar[float] = 1e-10
    learned: ClassVar[tuple[str, ...]] = (*PenalisedScorer.learned, "scale_")
    grid: Annotated[tuple[float, ...], Above(0)] = SVM_GRID
    folds: Annotated[int, AtLeast(2)] = FOLDS
    scaling: Scaling = "auto"

    def fit_subsets(
        self,
        data: FoldedData,
        subsets: Float[Tensor, "S N"],
        strength: float,
        start: Float[Tensor, "S K E"] | None,
        gap: float,
    ) -> Float[Tensor, "S K E"]:
        """Return the weights of each machine, fitted to each of S subsets of the images.

        The machines are fitted together, but the iterations of one do not depend on the others.
        """
        rows, wanted, judged = data.loss.rows, data.loss.wanted, data.loss.judged
        loss = SquaredHingeLoss(rows, (2 * wanted - 1).repeat(len(subsets), 1))
        shares = (subsets[:, None] * data.shares * judged).flatten(0, 1)
        start = None if start is None else start.flatten(0, 1)[:, None]
        return minimise(loss, shares, strength, start, gap)[:, 0].unflatten(0, (len(subsets), len(wanted)))

    def judge(self, data: FoldedData, found: Float[Tensor, "F K E"]) -> tuple[float, float]:
        """Return the scale, and the mean cross-entropy of the scaled margins, each in the fit that held it out."""
        some = data.held.any(0)
        return Calibration(data.judges, data.shares[some]).fit(held_out_margins(data, found)[:, some])

    def facts(self) -> dict[str, Any]:
        """Return the scale of the margins, and the facts of the base class. Its losses are cross-entropies here."""
        return {"scale": self.scale_.item(), **super().facts()}


def held_out_margins(data: FoldedData, found: Float[Tensor, "F K E"]) -> Float[Tensor, "K N"]:
    """Return the margins of each image in the fit that held it out."""
    return (data.held[:, None] * data.loss.scores(found)).sum(0)


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
