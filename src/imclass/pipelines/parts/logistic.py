"""Logistic regression with an L2 penalty, its strength chosen by cross-validation.

What is minimised is that of scikit-learn's LogisticRegression: C times the sum of the losses in nats, plus half of the
squared weights; biases have no penalty. Of one label each it is multinomial with a weight vector for every class, so of
two classes it equals scikit-learn's single vector at 2C. Images that may have several labels have a binary regression
for each class, with one strength.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from imclass.core.bounds import Above, AtLeast
from imclass.core.config import Solver
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, Link, Targets
from imclass.pipelines.part import Scorer
from imclass.pipelines.quasi_newton import LogisticLoss, minimise

GRID = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
# Weaker penalties than the best are tried until this many in a row are worse: they take the most iterations.
WORSE_IN_A_ROW = 2
TRIAL_GAP, FINAL_GAP = 1e-5, 1e-12  # how far from its minimum, as a share of its value, an objective may end
SMALLEST_AXIS = 1e-12  # principal axes with less of the largest one's variance are left out


@dataclass
class Logistic(Scorer, Solver):
    """Multinomial logistic regression on standardised features; for several labels, a binary one for each class.

    `grid` has the strengths C in ascending order. A single one is taken as it is. Of several, the one with the lowest
    loss on `folds` stratified folds is taken, of fewer folds where a class has fewer images.
    """

    kind: ClassVar[str] = "logistic"
    learned: ClassVar[tuple[str, ...]] = ("weights_", "biases_", "sigmoid_", "strength_", "losses_", "folds_")
    grid: Annotated[tuple[float, ...], Above(0)] = GRID
    folds: Annotated[int, AtLeast(1)] = 5

    def __post_init__(self) -> None:
        self.link: Link = "softmax"

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a grid that is empty or not in ascending order."""
        if not self.grid or list(self.grid) != sorted(set(self.grid)):
            raise UserError(f"--{at}grid is {self.grid}; it must be strengths in ascending order, at least one")

    def fit(self, x: Float[np.ndarray, "N D"], targets: Targets, classes: int) -> "Logistic":
        """Standardise the features, choose the strength, and fit all images with it."""
        if not np.isfinite(x).all():
            raise UserError("features are not finite: the weights of the network are damaged; take another model")
        check_counts(targets, classes, self.fewest)
        axes = PrincipalAxes(torch.from_numpy(np.asarray(x, np.float64)))
        loss = LogisticLoss(axes.rows, *class_marks(targets, classes), targets.link)
        groups = fold_numbers(targets, classes, self.folds)
        used = int(groups.max()) + 1
        if len(self.grid) == 1 or used < 2:
            used, strength, start = 0, self.grid[len(self.grid) // 2], None
            losses: list[float] = []
        else:
            strength, losses, start = choose_strength(loss, self.grid, groups)
        (found,) = minimise(loss, torch.ones_like(loss.rows[None, :, -1]), strength, start, FINAL_GAP)
        weights, biases = axes.undo(found)
        self.weights_, self.biases_ = weights.numpy(), biases.numpy()
        self.sigmoid_, self.strength_ = np.array(targets.link == "sigmoid"), np.array(strength)
        self.losses_, self.folds_ = np.array(losses), np.array(used)
        self.take_link()
        return self

    def take_link(self) -> None:
        """Set the link to that of the targets of `fit`."""
        self.link = "sigmoid" if self.sigmoid_ else "softmax"

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Take what was learned from a file."""
        super().restore(arrays, where)
        self.take_link()

    def scores(self, x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N K"]:
        """Return the log-odds of each class."""
        self.arrays()  # raises where it is not fitted
        scores: Float[np.ndarray, "N K"] = x @ self.weights_.T + self.biases_
        return scores

    def linear_model(self) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
        """Return weights and biases of features as they come, not standardised."""
        self.arrays()
        return self.weights_, self.biases_

    def facts(self) -> dict[str, Any]:
        """Return the strength, how many folds chose it (0: it was fixed), and the loss of each strength tried."""
        tried = dict(zip(map(str, self.grid), self.losses_.tolist(), strict=False))
        return {"strength": self.strength_.item(), "folds": self.folds_.item(), "losses": tried}


class PrincipalAxes:
    """Standardised features in the coordinates of their principal axes, at most as many as there are images.

    The penalty on the weights is the same in these coordinates, so the minimum is, too; and they are nearly independent
    of each other, which the solver makes use of.
    """

    def __init__(self, x: Float[Tensor, "N D"]) -> None:
        self.mean = x.mean(0)
        spread = x.std(0, correction=0)
        constant = spread <= 1e-7 * self.mean.abs()  # of rounding alone
        self.spread = torch.where(constant, torch.ones_like(spread), spread)
        standard = torch.where(constant, torch.zeros_like(x), (x - self.mean) / self.spread)
        wide = x.shape[1] > len(x)
        variances, axes = torch.linalg.eigh(standard @ standard.T if wide else standard.T @ standard)
        kept = variances > SMALLEST_AXIS * variances.max().clamp_min(1e-300)
        variances, axes = variances[kept], axes[:, kept]
        self.axes = standard.T @ axes / variances.sqrt() if wide else axes
        self.rows = torch.cat([standard @ self.axes, torch.ones_like(x[:, :1])], 1)  # the last is the bias's

    def undo(self, found: Float[Tensor, "K E"]) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Return weights and biases of the features as they were, from those of the axes."""
        weights = found[:, :-1] @ self.axes.T / self.spread
        return weights, found[:, -1] - weights @ self.mean


def class_marks(targets: Targets, classes: int) -> tuple[Float[Tensor, "K N"], Float[Tensor, "K N"]]:
    """Return 1 for each class that an image has, else 0; and 1 for each that was judged, else 0."""
    if isinstance(targets, AnyOf):
        marks = torch.from_numpy(targets.numpy().T.copy())
        return (marks == 1).double(), (marks >= 0).double()
    wanted = functional.one_hot(torch.from_numpy(targets.numpy()), classes).double().T.contiguous()
    return wanted, torch.ones_like(wanted)


def check_counts(targets: Targets, classes: int, fewest: int) -> None:
    """Raise `UserError` for a class of which there are too few images, or which every image has."""
    counts = targets.counts(classes)
    without = (targets.numpy() == 0).sum(0) if isinstance(targets, AnyOf) else len(targets) - counts
    for k in range(classes):
        if min(counts[k], without[k]) < fewest:
            numbers = f"class number {k + 1} has {counts[k]} training images, and {without[k]} are without it"
            raise UserError(
                f"{numbers}; logistic regression needs {fewest} or more of both; add images, or leave it out"
            )


def fold_numbers(targets: Targets, classes: int, folds: int) -> Int64[np.ndarray, "N"]:
    """Return the fold of each image, equal shares of each class; no more folds than the rarest class has images.

    An image with several classes counts as one of the rarest of them. Which images share a fold is drawn from a fixed
    seed, as neighbours in a folder are often similar.
    """
    counts = targets.counts(classes)
    if isinstance(targets, AnyOf):
        rarity = np.where(targets.numpy() == 1, counts, np.iinfo(np.int64).max)
        groups = np.where((targets.numpy() == 1).any(1), rarity.argmin(1), classes)
    else:
        groups = targets.numpy()
    order = np.random.default_rng(0).permutation(len(targets))
    order = order[np.argsort(groups[order], kind="stable")]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order)) % min(folds, int(counts.min()))
    return numbers


def choose_strength(
    loss: LogisticLoss, grid: tuple[float, ...], groups: Int64[np.ndarray, "N"]
) -> tuple[float, list[float], Float[Tensor, "1 K E"]]:
    """Return the strength with the lowest loss on held-out folds, the losses, and weights near its minimum.

    Every fit begins from the one before, which had a stronger penalty.
    """
    held = functional.one_hot(torch.from_numpy(groups)).double().T.contiguous()
    losses: list[float] = []
    found: Float[Tensor, "F K E"] | None = None
    best = torch.zeros(0)
    for strength in grid:
        found = minimise(loss, 1 - held, strength, found, TRIAL_GAP)
        losses.append((held * loss.losses(loss.scores(found))).sum().item() / len(groups))
        if losses[-1] == min(losses):
            best = found.mean(0, keepdim=True)
        elif len(losses) - 1 - int(np.argmin(losses)) >= WORSE_IN_A_ROW:
            break
    return grid[int(np.argmin(losses))], losses, best


PARTS = {"logistic": Logistic}
