"""Linear classifiers of scaled features, with a penalty whose strength is chosen by cross-validation.

The same cross-validation chooses how features are scaled, because the penalty depends on it. Either each feature is
divided by its standard deviation, or all are divided by one number. The second gives more weight to features that
vary more across images.
"""
# Tested in tests/pipelines/parts/test_logistic.py

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from imclass.core.config import Solver
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, Link, Targets
from imclass.pipelines.feature_blocks import BlockAxes, BlockFeatures, needs_blocks
from imclass.pipelines.part import FitProgress, LinearScorer
from imclass.pipelines.principal_axes import PrincipalAxes, scaled_features
from imclass.pipelines.quasi_newton import LogisticLoss
from imclass.pipelines.rows import RowMatrix, as_rows, blocks
from imclass.pipelines.solvers.logistic import Scaling, check_grid

FINAL_GAP = 1e-12  # `gap` of `minimise` in the final fit
# The search ends after two strengths in a row whose losses exceed this multiple of the lowest loss, because weak
# penalties take the most iterations. A better strength may follow a smaller increase.
MUCH_WORSE = 1.05


@dataclass(frozen=True, eq=False)
class FoldedData:
    """The images to fit, each of which is held out by one of F folds."""

    loss: LogisticLoss  # it contains the features and the targets
    shares: Float[Tensor, "N"]  # the factor for each image's loss
    held: Float[Tensor, "F N"]  # 1 for the images that a fold holds out

    def in_precision(self, precision: torch.dtype) -> "FoldedData":
        """Return the same data in another floating-point type, unless the rows are known by their products."""
        if not isinstance(self.loss.rows, Tensor):
            return self
        tensors = {name: getattr(self.loss, name).to(precision) for name in ("rows", "wanted", "judged")}
        return FoldedData(replace(self.loss, **tensors), self.shares.to(precision), self.held.to(precision))

    @property
    def smallest_gap(self) -> float:
        """Return the smallest `gap` of `minimise` that the precision of the features allows."""
        return 0.0 if isinstance(self.loss.rows, Tensor) else self.loss.rows.smallest_gap

    @property
    def judges(self) -> LogisticLoss:
        """Return the loss of the images that are held out by any fold. Its features are those of all images."""
        some = self.held.any(0)
        return replace(self.loss, wanted=self.loss.wanted[:, some], judged=self.loss.judged[:, some])

    @property
    def everything(self) -> Float[Tensor, "1 N"]:
        """Return the subset of all images, as an argument of `PenalisedScorer.fit_subsets`."""
        return torch.ones_like(self.shares)[None]


@dataclass(frozen=True, eq=False)
class Choice:
    """A strength, with the results of the cross-validation that chose it."""

    strength: float
    scale: float = 1.0  # the factor for all scores
    losses: Sequence[float] = ()  # at each strength tried; empty: there was no cross-validation
    start: Float[Tensor, "1 K E"] | None = None  # weights from which the final fit begins

    @property
    def loss(self) -> float:
        """Return the lowest loss."""
        return min(self.losses, default=torch.inf)


@dataclass
class PenalisedScorer(LinearScorer):
    """A linear classifier with penalised weights, fitted to scaled features."""

    trial_gap: ClassVar[float]  # `gap` of `minimise` in cross-validation
    trial_precision: ClassVar[torch.dtype] = torch.float64  # of the numbers in cross-validation
    learned: ClassVar[tuple[str, ...]] = (
        "weights_",
        "biases_",
        "sigmoid_",
        "strength_",
        "losses_",
        "folds_",
        "common_",
    )
    grid: tuple[float, ...]  # strengths C to choose from, in ascending order
    folds: int  # the largest number of folds in the cross-validation
    scaling: Scaling  # how features are scaled

    def __post_init__(self) -> None:
        self.link: Link = "softmax"

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a grid that is empty or not in ascending order."""
        check_grid(self.grid, at)

    def fit(
        self,
        x: Float[np.ndarray, "N D"] | RowMatrix,
        targets: Targets,
        classes: int,
        weights: Float[np.ndarray, "N"] | None = None,
    ) -> "PenalisedScorer":
        """Choose the scaling of the features and the strength, fit the model to all images, and return the part.

        `weights` contains the factor for each image's loss, in cross-validation as well. The factors do not affect how
        the features are scaled.
        """
        for _ in self.fit_steps(x, targets, classes, weights=weights):
            pass
        return self

    def fit_steps(
        self,
        x: Float[np.ndarray, "N D"] | RowMatrix,
        targets: Targets,
        classes: int,
        seed: int = 0,
        weights: Float[np.ndarray, "N"] | None = None,
    ) -> Iterator[FitProgress]:
        """Fit as `fit` does, and yield after each block of wide features, each strength tried and the final fit.

        If there are more features than images, they are read in blocks and never copied as a whole. Nothing is random,
        so `seed` has no effect.
        """
        check_counts(targets, classes, Solver.min_images)
        marks = class_marks(targets, classes)
        shares = torch.ones(len(x)).double() if weights is None else torch.from_numpy(weights).double()
        held = functional.one_hot(torch.from_numpy(solver_folds(targets, classes, self.folds))).double().T.contiguous()
        scalings = (False, True) if self.scaling == "auto" else (self.scaling == "common",)
        rows = as_rows(x)
        large = needs_blocks(rows)
        features = BlockFeatures(rows) if large else scaled_features(rows, scalings)
        held = held[:1] if large else held  # a fifth of many images is enough to choose
        expected = features.steps + len(scalings) * len(self.grid) + 1
        for done in features.prepare():
            yield done, expected
        best: tuple[PrincipalAxes | BlockAxes, FoldedData, Choice] | None = None
        for i, common in enumerate(scalings):
            axes = features.axes(common)
            data = FoldedData(LogisticLoss(axes.rows, *marks, targets.link), shares, held)
            begun = features.steps + i * len(self.grid)
            choice = Choice(self.grid[0])
            for done, latest in enumerate(self.choices(data), begun + 1):
                choice = latest
                yield done, expected
            yield begun + len(self.grid), expected  # the search may have ended early
            if best is None or choice.loss < best[2].loss:  # without a cross-validation, the first is kept
                best = axes, data, choice
        if best is None:
            raise TypeError(f"there is no scaling {self.scaling!r}")
        self.finish(*best, targets.link)
        yield expected, expected

    def finish(self, axes: PrincipalAxes | BlockAxes, data: FoldedData, choice: Choice, link: Link) -> None:
        """Fit the model to all images with the strength that was chosen, and set the learned arrays."""
        (found,) = self.fit_subsets(
            data, data.everything, choice.strength, choice.start, max(FINAL_GAP, data.smallest_gap)
        )
        self.weights_, self.biases_ = (choice.scale * array.numpy() for array in axes.undo(found))
        facts = (link == "sigmoid", choice.strength, choice.scale, axes.common)
        self.sigmoid_, self.strength_, self.scale_, self.common_ = map(np.array, facts)
        self.losses_ = np.array(choice.losses)
        self.folds_ = np.array(len(data.held) if choice.losses else 0)
        self.set_link()

    def choices(self, data: FoldedData) -> Iterator[Choice]:
        """Yield, after each strength tried, the one with the lowest loss on held-out folds. At least one is tried.

        The final fit to all images starts from the weights in the result, which are near its minimum. In the same way,
        each fit here starts from the weights of the previous one, which had a stronger penalty.
        """
        losses: list[float] = []
        data = data.in_precision(self.trial_precision)
        gap = max(self.trial_gap, data.smallest_gap)
        found, start, scale, strength = None, None, 1.0, self.grid[0]
        for trial in self.grid:
            found = self.fit_subsets(data, 1 - data.held, trial, found, gap)
            trial_scale, loss = self.judge(data, found)
            if loss < min(losses, default=torch.inf):
                start, scale, strength = found.mean(0, keepdim=True).double(), trial_scale, trial
            losses.append(loss)
            yield Choice(strength, scale, losses, start)
            if min(losses[-2:]) > MUCH_WORSE * min(losses):
                break

    @abstractmethod
    def fit_subsets(
        self,
        data: FoldedData,
        subsets: Float[Tensor, "S N"],
        strength: float,
        start: Float[Tensor, "S K E"] | None,
        gap: float,
    ) -> Float[Tensor, "S K E"]:
        """Return the weights of each class, fitted to each of S subsets of the images. A subset consists of 0 and 1."""

    @abstractmethod
    def judge(self, data: FoldedData, found: Float[Tensor, "F K E"]) -> tuple[float, float]:
        """Return the factor for all scores, and the mean loss of each image in the fit that held it out."""

    def set_link(self) -> None:
        """Set the link that matches the targets to which the part was fitted."""
        self.link = "sigmoid" if self.arrays()["sigmoid_"] else "softmax"

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays from a file, and the link that follows from them."""
        super().restore(arrays, where)
        self.set_link()

    def scores(self, x: Float[np.ndarray, "N D"] | RowMatrix) -> Float[np.ndarray, "N K"]:
        """Return the score of each class, which is linear in the features."""
        weights, biases = self.linear_model()
        if isinstance(x, np.ndarray):
            return np.asarray(x @ weights.T + biases)
        rows = as_rows(x)
        return np.concatenate([self.scores(rows[low:high]) for low, high in blocks(*rows.shape)])

    def linear_model(self) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
        """Return the weights and biases to apply to features that have not been scaled."""
        learned = self.arrays()
        return learned["weights_"], learned["biases_"]

    def facts(self) -> dict[str, Any]:
        """Return the strength, the scaling, the number of folds, and the loss at each strength tried.

        Without a cross-validation, the number of folds is 0. The losses are those with the chosen scaling.
        """
        learned = self.arrays()
        tried = dict(zip(map(str, self.grid), learned["losses_"].tolist(), strict=False))
        scaling = "common" if learned["common_"] else "standardised"
        choices = {"strength": learned["strength_"].item(), "scaling": scaling, "folds": learned["folds_"].item()}
        return {**choices, "losses": tried}


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
                f"a linear classifier needs at least {min_images} training images with each class, and as many without "
                f"it. For class number {k + 1}, there are {counts[k]} with it and {without[k]} without it; "
                "add images, or remove the class"
            )


def solver_folds(targets: Targets, classes: int, folds: int) -> Int64[np.ndarray, "N"]:
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
