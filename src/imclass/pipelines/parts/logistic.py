"""Logistic regression with an L2 penalty, whose strength is chosen by cross-validation.

The objective is that of scikit-learn's LogisticRegression: C times the sum of the losses in nats, plus half of the
sum of the squared weights. Biases are not penalised. If each image has one label, the regression is multinomial, with a
weight vector for every class. For two classes, scikit-learn's single weight vector gives the same result at 2C. If
images may have several labels, there is a binary regression for each class, and all of them use the same strength.
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
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, Link, Targets
from imclass.pipelines.part import LinearScorer
from imclass.pipelines.quasi_newton import LogisticLoss, minimise
from imclass.pipelines.solvers.logistic import FOLDS, GRID, LogisticSolver, check_grid

# The search ends after this many strengths in a row that are worse than the best, because weak penalties take the most
# iterations.
WORSE_IN_A_ROW = 2
TRIAL_GAP, FINAL_GAP = 1e-5, 1e-12  # `gap` of `minimise` in cross-validation and in the final fit
SMALLEST_AXIS = 1e-12  # principal axes with less than this fraction of the largest variance are dropped


@dataclass
class Logistic(LinearScorer):
    """Logistic regression on standardised features: multinomial, or binary for each class if images may have several.

    `grid` contains strengths C in ascending order. If there are several, the one with the lowest loss in a stratified
    cross-validation with `folds` folds is chosen. If a class has fewer than `folds` images, there are only as many
    folds as images of that class. With fewer than two folds, the middle strength is used.
    """

    kind: ClassVar[str] = "logistic"
    learned: ClassVar[tuple[str, ...]] = ("weights_", "biases_", "sigmoid_", "strength_", "losses_", "folds_")
    grid: Annotated[tuple[float, ...], Above(0)] = GRID
    folds: Annotated[int, AtLeast(1)] = FOLDS

    def __post_init__(self) -> None:
        self.link: Link = "softmax"

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a grid that is empty or not in ascending order."""
        check_grid(self.grid, at)

    def fit(
        self,
        x: Float[np.ndarray, "N D"],
        targets: Targets,
        classes: int,
        weights: Float[np.ndarray, "N"] | None = None,
    ) -> "Logistic":
        """Standardise the features, choose the strength, fit the model to all images, and return the part.

        `weights` contains the factor of each image's loss, in cross-validation as well. They do not affect how the
        features are standardised.
        """
        if not np.isfinite(x).all():
            raise UserError("some features are not finite, so the network's weights are damaged; use another model")
        check_counts(targets, classes, LogisticSolver.min_images)
        axes = PrincipalAxes(torch.from_numpy(np.asarray(x, np.float64)))
        loss = LogisticLoss(axes.rows, *class_marks(targets, classes), targets.link)
        shares = torch.ones(len(x)).double() if weights is None else torch.from_numpy(weights).double()
        groups = fold_numbers(targets, classes, self.folds)
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

    def set_link(self) -> None:
        """Set the link that matches the targets to which the part was fitted."""
        self.link = "sigmoid" if self.sigmoid_ else "softmax"

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays from a file, and the link that follows from them."""
        super().restore(arrays, where)
        self.set_link()

    def scores(self, x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N K"]:
        """Return the score of each class, which is linear in the features."""
        self.arrays()  # raises an error if the part has not been fitted
        scores: Float[np.ndarray, "N K"] = x @ self.weights_.T + self.biases_
        return scores

    def linear_model(self) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
        """Return the weights and biases to apply to features that have not been standardised."""
        self.arrays()
        return self.weights_, self.biases_

    def facts(self) -> dict[str, Any]:
        """Return the strength, the number of folds (0: no cross-validation), and the loss at each strength tried."""
        tried = dict(zip(map(str, self.grid), self.losses_.tolist(), strict=False))
        return {"strength": self.strength_.item(), "folds": self.folds_.item(), "losses": tried}


class PrincipalAxes:
    """Standardised features in the coordinates of their principal axes.

    There are at most as many axes as images. The penalty on the weights is the same in these coordinates, and so is the
    minimum. The coordinates are uncorrelated, so the solver needs fewer iterations.
    """

    def __init__(self, x: Float[Tensor, "N D"]) -> None:
        self.mean = x.mean(0)
        spread = x.std(0, correction=0)
        constant = spread <= 1e-7 * self.mean.abs()  # this much may come from rounding
        self.spread = torch.where(constant, torch.ones_like(spread), spread)
        standard = torch.where(constant, torch.zeros_like(x), (x - self.mean) / self.spread)
        wide = x.shape[1] > len(x)
        variances, axes = torch.linalg.eigh(standard @ standard.T if wide else standard.T @ standard)
        kept = variances > SMALLEST_AXIS * variances.max().clamp_min(1e-300)
        variances, axes = variances[kept], axes[:, kept]
        self.axes = standard.T @ axes / variances.sqrt() if wide else axes
        self.rows = torch.cat([standard @ self.axes, torch.ones_like(x[:, :1])], 1)  # the column for the biases

    def undo(self, found: Float[Tensor, "K E"]) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Convert weights and biases for the principal axes to weights and biases for the original features."""
        weights = found[:, :-1] @ self.axes.T / self.spread
        return weights, found[:, -1] - weights @ self.mean


def class_marks(targets: Targets, classes: int) -> tuple[Float[Tensor, "K N"], Float[Tensor, "K N"]]:
    """Return two arrays of zeros and ones: which classes each image has, and for which classes it is annotated."""
    if isinstance(targets, AnyOf):
        marks = torch.from_numpy(targets.numpy().T.copy())
        return (marks == 1).double(), (marks >= 0).double()
    wanted = functional.one_hot(torch.from_numpy(targets.numpy()), classes).double().T.contiguous()
    return wanted, torch.ones_like(wanted)


def check_counts(targets: Targets, classes: int, min_images: int) -> None:
    """Raise `UserError` if fewer than `min_images` images have a class, or if fewer than that do not have it."""
    counts = targets.counts(classes)
    without = (targets.numpy() == 0).sum(0) if isinstance(targets, AnyOf) else len(targets) - counts
    for k in range(classes):
        if min(counts[k], without[k]) < min_images:
            raise UserError(
                f"logistic regression needs at least {min_images} training images with each class, and as many without "
                f"it. For class number {k + 1}, there are {counts[k]} with it and {without[k]} without it; "
                "add images, or remove the class"
            )


def fold_numbers(targets: Targets, classes: int, folds: int) -> Int64[np.ndarray, "N"]:
    """Return the fold of each image. The images of each class are divided equally among the folds.

    There are at most as many folds as images of the rarest class. An image with several classes counts as an image of
    the rarest of them. Images are shuffled with a fixed seed, because neighbours in a folder are often similar.
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
    loss: LogisticLoss, shares: Float[Tensor, "N"], grid: tuple[float, ...], groups: Int64[np.ndarray, "N"]
) -> tuple[float, list[float], Float[Tensor, "1 K E"]]:
    """Return the strength with the lowest loss on held-out folds, the loss at each strength, and weights to start from.

    The final fit to all images starts from these weights, which are near its minimum. In the same way, each fit here
    starts from the weights of the previous one, which had a stronger penalty. `shares` contains the factor of each
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
