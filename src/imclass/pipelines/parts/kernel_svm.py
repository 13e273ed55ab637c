"""Support vector machines with kernels between histograms, whose scores are calibrated by cross-validation.

S. Lazebnik et al. (CVPR 2006) classify spatial pyramids with the intersection kernel. J. Zhang et al. ("Local features
and kernels for classification of texture and object categories", IJCV 2007) use exp(-gamma d^2) with the chi-squared
distance d^2, where 1 / gamma is its mean over the training images.

There is a machine for each class, with the squared hinge loss, as in `parts/linear_svm.py`. The eigenvectors of the
centred kernel matrix of N images are the principal axes of these images in the space of the kernel. A linear machine in
their coordinates is the kernel machine: centring only changes the bias, which is not penalised. The strength is
therefore chosen, and the scores are calibrated, in the same way as for linear machines. The final machines are exact
solutions of the linear equations that hold at the minimum (O. Chapelle, "Training a support vector machine in the
primal", Neural Computation 2007).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor
from torch.nn import functional

from imclass.core.bounds import Above, AtLeast
from imclass.core.errors import UserError
from imclass.core.targets import Link, Targets
from imclass.data.threads import map_in_order
from imclass.pipelines.kernels import Kernel, check_histograms, pair_sums, self_sums, squared_distances
from imclass.pipelines.part import FitProgress, Scorer
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.penalised import FINAL_GAP, Choice, FoldedData, check_counts, class_marks, solver_folds
from imclass.pipelines.principal_axes import check_finite_features, principal, with_ones
from imclass.pipelines.quasi_newton import LogisticLoss
from imclass.pipelines.rows import RowMatrix, as_rows, blocks
from imclass.pipelines.solvers.logistic import FOLDS, check_grid

MOST_IMAGES = 10_000  # a kernel matrix then takes 0.8 GB, and the fit about five times as much
GROUP = 32  # rows whose kernel a thread computes at a time
MAX_SOLUTIONS = 20  # of the equations of one machine, for other sets of support vectors
KERNEL_GRID = (1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass
class KernelSvm(Scorer):
    """Support vector machines with a kernel, one for each class.

    The kernels are defined in `pipelines/kernels.py`. All but "linear" need rows without negative numbers. With
    `exponential`, the kernel is exp(-gamma d^2), where d is the distance of the chosen kernel. It is the exponential
    chi-squared kernel for "chi2", and the radial basis function for "linear".

    The kernel is divided by one number, so that the mean squared distance of the training images from their mean is 1.
    `grid` contains strengths C for this kernel, in ascending order, and is used as in `linear-svm`.
    """

    kind: ClassVar[str] = "kernel-svm"
    min_images: ClassVar[int] = 2
    learned: ClassVar[tuple[str, ...]] = (
        "supports_",  # [D, S], a column for each support vector
        "squares_",  # [S], the kernel of each with itself
        "coefficients_",
        "biases_",
        "gamma_",
        "sigmoid_",
        "strength_",
        "scale_",
        "losses_",
        "folds_",
    )
    kernel: Kernel = "chi2"
    exponential: bool = False  # exp(-gamma d^2), where d is the distance of the kernel
    gamma: Annotated[float, AtLeast(0)] = 0.0  # 0: one divided by the mean of d^2 over all pairs of training images
    grid: Annotated[tuple[float, ...], Above(0)] = KERNEL_GRID
    folds: Annotated[int, AtLeast(2)] = FOLDS

    def __post_init__(self) -> None:
        self.link: Link = "softmax"

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a grid that is empty or not in ascending order."""
        check_grid(self.grid, at)

    def fit(self, x: Float[np.ndarray, "N D"] | RowMatrix, targets: Targets, classes: int) -> "KernelSvm":
        """Choose the strength, fit the machines to all images, and return the part.

        Raise `UserError` if there are more than 10,000 images, or if a row cannot be used with the kernel.
        """
        for _ in self.fit_steps(x, targets, classes):
            pass
        return self

    def fit_steps(
        self, x: Float[np.ndarray, "N D"] | RowMatrix, targets: Targets, classes: int, seed: int = 0
    ) -> Iterator[FitProgress]:
        """Fit as `fit` does, and yield after each group of rows of the kernel, each strength tried and the final fit.

        Nothing is random, so `seed` has no effect.
        """
        check_size(len(x))
        check_counts(targets, classes, self.min_images)
        rows = as_rows(x)
        pairs = PairSums(self, rows)
        expected = pairs.steps + len(self.grid) + 1
        for done in pairs.prepare():
            yield done, expected
        matrix = torch.from_numpy(self.complete(pairs))
        spread = (matrix.trace() / len(matrix) - matrix.mean()).item()  # the mean squared distance from the mean
        matrix /= spread if spread > 0 else 1
        held = functional.one_hot(torch.from_numpy(solver_folds(targets, classes, self.folds))).double().T.contiguous()
        axes = kernel_axes(matrix)
        loss = LogisticLoss(axes, *class_marks(targets, classes), targets.link)
        data = FoldedData(loss, torch.ones(len(rows)).double(), held)
        machines, choice = LinearSvm(self.grid, self.folds), Choice(self.grid[0])
        for done, latest in enumerate(machines.choices(data), pairs.steps + 1):
            choice = latest
            yield done, expected
        yield expected - 1, expected  # the search may have ended early
        (found,) = machines.fit_subsets(data, data.everything, choice.strength, choice.start, FINAL_GAP)
        solved = [
            exact_machine(matrix, *machine, choice.strength)
            for machine in zip(2 * loss.wanted - 1, loss.judged > 0, found @ axes.T, strict=True)
        ]
        coefficients, biases = (torch.stack(values).numpy() for values in zip(*solved, strict=True))
        self.keep_supports(rows, coefficients / (spread if spread > 0 else 1) * choice.scale, pairs.squares)
        self.biases_ = biases * choice.scale
        self.scale_, self.strength_ = np.array(choice.scale), np.array(choice.strength)
        self.losses_, self.folds_ = np.array(choice.losses), np.array(len(held))
        self.sigmoid_ = np.array(targets.link == "sigmoid")
        self.set_link()
        yield expected, expected

    def complete(self, pairs: "PairSums") -> Float64[np.ndarray, "N N"]:
        """Return the kernel of all pairs of training images in the memory of their sums, and set gamma."""
        self.gamma_ = np.array(0.0)
        if not self.exponential:
            return pairs.sums
        squares, count = pairs.squares, len(pairs.sums)
        for low, high in pairs.groups:
            pairs.sums[low:high] = squared_distances(pairs.sums[low:high], squares[low:high], squares)
        mean = pairs.sums.sum() / (count * (count - 1))
        self.gamma_ = np.array(self.gamma or (1 / mean if mean > 0 else 1.0))
        pairs.sums *= -self.gamma_
        return np.exp(pairs.sums, out=pairs.sums)

    def keep_supports(
        self, rows: RowMatrix, coefficients: Float64[np.ndarray, "K N"], squares: Float64[np.ndarray, "N"]
    ) -> None:
        """Set the arrays of the support vectors, which are the images with a coefficient that is not 0."""
        chosen = np.flatnonzero(coefficients.any(0))
        self.coefficients_, self.squares_ = coefficients[:, chosen], squares[chosen]
        self.supports_ = np.empty((rows.shape[1], len(chosen)), np.float32)
        for low, high in blocks(rows.shape[1], len(rows)):
            self.supports_[low:high] = rows.columns(low, high)[chosen].T

    def set_link(self) -> None:
        """Set the link that matches the targets to which the part was fitted."""
        self.link = "sigmoid" if self.arrays()["sigmoid_"] else "softmax"

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays from a file, and the link that follows from them."""
        super().restore(arrays, where)
        self.set_link()

    def check_rows(self, x: Float32[np.ndarray, "N D"]) -> None:
        """Raise `UserError` for rows that cannot be used with the kernel."""
        if self.kernel == "linear":
            check_finite_features(x)
        else:
            check_histograms(x, f"{self.kind} with the {self.kernel} kernel", "the linear kernel")

    def scores(self, x: Float[np.ndarray, "N D"] | RowMatrix) -> Float64[np.ndarray, "N K"]:
        """Return the score of each class, a sum over the support vectors. As many threads as PyTorch uses share `x`.

        Raise `UserError` for rows that cannot be used with the kernel.
        """
        learned, rows = self.arrays(), as_rows(x)

        def score(low: int) -> Float64[np.ndarray, "n K"]:
            group = np.asarray(rows[low : low + GROUP], np.float32)
            self.check_rows(group)
            similar = pair_sums(self.kernel, group, learned["supports_"])
            if self.exponential:
                distances = squared_distances(similar, self_sums(self.kernel, group), learned["squares_"])
                similar = np.exp(-learned["gamma_"] * distances)
            return similar @ learned["coefficients_"].T + learned["biases_"]

        workers = torch.get_num_threads() if len(rows) > GROUP else 0
        found = list(map_in_order(score, range(0, len(rows), GROUP), workers, ahead=2 * workers))
        return np.concatenate([*found, np.empty((0, len(learned["biases_"])))])

    def facts(self) -> dict[str, Any]:
        """Return the strength, the scale of the margins, gamma, and the number of folds and of support vectors.

        `losses` contains the cross-entropy of the scaled margins of held-out images at each strength tried.
        """
        learned = self.arrays()
        names = {"scale": "scale_", "strength": "strength_", "folds": "folds_"}
        tried = dict(zip(map(str, self.grid), learned["losses_"].tolist(), strict=False))
        gamma = {"gamma": learned["gamma_"].item()} if self.exponential else {}
        counts = {"support_vectors": learned["coefficients_"].shape[1]}
        return {**{name: learned[array].item() for name, array in names.items()}, **gamma, **counts, "losses": tried}


class PairSums:
    """The kernel of all pairs of images, before the exponential function.

    Blocks of features are read one after the other. Threads share the rows of each.
    """

    def __init__(self, part: KernelSvm, rows: RowMatrix) -> None:
        self.part, self.rows = part, rows
        images, width = rows.shape
        self.sums = np.zeros((images, images))
        self.groups = [(low, min(low + GROUP, images)) for low in range(0, images, GROUP)]
        self.blocks = list(blocks(width, images))

    @property
    def steps(self) -> int:
        """Return the number of steps of `prepare`."""
        return len(self.groups) * len(self.blocks)

    def prepare(self) -> Iterator[int]:
        """Compute the sums, and yield the number of finished steps after each.

        Raise `UserError` for rows that cannot be used with the kernel.
        """
        done, workers = 0, torch.get_num_threads()
        for block in self.blocks:
            found = np.asarray(self.rows.columns(*block), np.float32)
            self.part.check_rows(found)
            add = partial(self.add_group, found, np.ascontiguousarray(found.T))
            for _ in map_in_order(add, self.groups, workers, ahead=2 * workers):
                yield (done := done + 1)
        for low, high in self.groups:
            self.sums[low:high, high:] = self.sums[high:, low:high].T
        self.squares = self.sums.diagonal().copy()  # the kernel of each image with itself

    def add_group(
        self, found: Float32[np.ndarray, "N d"], columns: Float32[np.ndarray, "d N"], group: tuple[int, int]
    ) -> None:
        """Add the sums over a block of features for some of the rows, up to the diagonal."""
        low, high = group
        self.sums[low:high, :high] += pair_sums(self.part.kernel, found[low:high], columns[:, :high])


def check_size(images: int) -> None:
    """Raise `UserError` if there are too many images for a matrix with a row and a column for each."""
    if images > MOST_IMAGES:
        raise UserError(
            f"the part kernel-svm compares all pairs of training images, and {images:,} images would take too much "
            f"memory (the limit is {MOST_IMAGES:,}); put kernel-map and linear-svm in its place, which approximate the "
            "same kernels, or use fewer images"
        )


def kernel_axes(matrix: Float[Tensor, "N N"]) -> Float[Tensor, "N E"]:
    """Return the coordinates of the images on the principal axes of a kernel, and a column of ones."""
    means = matrix.mean(0)
    variances, vectors = principal(matrix - means - means[:, None] + means.mean())
    return with_ones(vectors.mul_(variances.sqrt()))


def exact_machine(
    matrix: Float[Tensor, "N N"],
    signs: Float[Tensor, "N"],
    judged: Bool[Tensor, "N"],
    margins: Float[Tensor, "N"],
    strength: float,
) -> tuple[Float[Tensor, "N"], Float[Tensor, ""]]:
    """Return the coefficients and the bias of a machine, given margins that are near those of the minimum.

    With the kernel K, the coefficients a and the bias b at the minimum of the objective satisfy

        (K a)_n + b + a_n / (2 C) = sign_n    for the support vectors, whose margin times sign is below 1,
        a_n = 0                               for all others, and the sum of a is 0.
    """
    for _ in range(MAX_SOLUTIONS):
        chosen = (judged & (signs * margins < 1)).nonzero()[:, 0]
        system = matrix[chosen][:, chosen]
        system.diagonal().add_(1 / (2 * strength))
        solved = torch.linalg.solve(system, torch.stack([signs[chosen], torch.ones_like(signs[chosen])], 1))
        bias = solved[:, 0].sum() / solved[:, 1].sum()
        coefficients = torch.zeros_like(signs)
        coefficients[chosen] = solved[:, 0] - bias * solved[:, 1]
        margins = matrix[:, chosen] @ coefficients[chosen] + bias
        if torch.equal(chosen, (judged & (signs * margins < 1)).nonzero()[:, 0]):
            break
    return coefficients, bias


PARTS = {"kernel-svm": KernelSvm}
