"""Scaled features in the coordinates of their principal axes, for linear classifiers with an L2 penalty.

There are at most as many axes as images. The penalty on the weights is the same in these coordinates, and so is the
minimum. The coordinates are uncorrelated, so a solver needs fewer iterations. Everything is computed in float64.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from imclass.core.errors import UserError
from imclass.pipelines.rows import RowMatrix, as_rows, blocks

SMALLEST_AXIS = 1e-12  # principal axes with less than this fraction of the largest variance are dropped
ROUNDING = 1e-7  # a feature whose standard deviation is this fraction of its mean may vary by rounding only
BANDS = 4  # of a symmetric matrix, whose lower triangle is computed band by band


class PrincipalAxes(ABC):
    """Scaled features of N images in the coordinates of E principal axes."""

    common: bool  # whether all features were divided by one number
    rows: Float[Tensor, "N E"]  # the last column consists of ones, for the biases

    @abstractmethod
    def undo(self, found: Float[Tensor, "K E"]) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Convert weights and biases for the principal axes to weights and biases for the original features."""


class ScaledFeatures(ABC):
    """Features that are scaled in one or two ways.

    The mean of each feature is subtracted, and the difference divided by the feature's standard deviation or, if
    `common` is true, by the root mean square of the standard deviations of all features.
    """

    @property
    @abstractmethod
    def steps(self) -> int:
        """Return the number of steps of `prepare`."""

    @abstractmethod
    def prepare(self) -> Iterator[int]:
        """Compute what `axes` needs, and yield the number of finished steps after each.

        Raise `UserError` if any features are not finite.
        """

    @abstractmethod
    def axes(self, common: bool) -> PrincipalAxes:
        """Return the features in the coordinates of their principal axes. Call it once for each scaling."""


def scaled_features(x: Float[np.ndarray, "N D"] | RowMatrix, scalings: Sequence[bool]) -> ScaledFeatures:
    """Return the features in a matrix, which are read in blocks if there are more of them than images.

    `scalings` contains the values of `common` for which axes are needed.
    """
    rows = as_rows(x)
    return WideFeatures(rows, scalings) if rows.shape[1] > len(rows) else NarrowFeatures(rows)


def check_finite_features(features: Float[np.ndarray, "N D"]) -> None:
    """Raise `UserError` if any features are not finite."""
    if not np.isfinite(features).all():
        raise UserError(
            "some features are not finite, so the weights of the network or part that computes them are damaged; "
            "use another model"
        )


def divisors(spread: Float[Tensor, "D"], constant: Bool[Tensor, "D"], common: bool) -> Float[Tensor, "D"]:
    """Return the number by which each feature is divided, which is 1 for constant features."""
    if common:
        spread = spread.square().mean().sqrt().expand_as(spread)
    return torch.where(constant | (spread == 0), torch.ones_like(spread), spread)


def principal(products: Float[Tensor, "E E"]) -> tuple[Float[Tensor, "A"], Float[Tensor, "E A"]]:
    """Return the variances and vectors of the principal axes. Only the lower triangle of `products` is read.

    `products` is overwritten, because another matrix of its size may not fit in memory.
    """
    fill_upper(products)
    variances, vectors = products.new_empty(len(products)), products.mT  # LAPACK's order of columns
    torch.linalg.eigh(vectors, out=(variances, vectors))
    kept = variances > SMALLEST_AXIS * variances.max().clamp_min(1e-300)
    return variances[kept], vectors[:, kept]


def fill_upper(matrix: Float[Tensor, "E E"]) -> None:
    """Copy the lower triangle of a matrix to the upper one."""
    for low, high in pairwise(band_bounds(len(matrix))):
        block = matrix[low:high, low:high]
        block.copy_(block.tril() + block.tril(-1).mT)
        matrix[low:high, high:] = matrix[high:, low:high].mT


def band_bounds(length: int) -> list[int]:
    """Return the first positions of the bands of a matrix, and its length."""
    return np.linspace(0, length, BANDS + 1).astype(int).tolist()


def with_ones(rows: Float[Tensor, "N A"]) -> Float[Tensor, "N E"]:
    """Return the rows with an additional column of ones."""
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


class NarrowFeatures(ScaledFeatures):
    """At most as many features as images, in memory."""

    steps = 0

    def __init__(self, rows: RowMatrix) -> None:
        self.matrix = rows[0 : len(rows)]

    def prepare(self) -> Iterator[int]:
        """Check the features."""
        check_finite_features(self.matrix)
        yield from ()

    def axes(self, common: bool) -> PrincipalAxes:
        """Return the features in the coordinates of their principal axes."""
        return NarrowAxes(self.matrix, common)


class NarrowAxes(PrincipalAxes):
    """The principal axes of at most as many features as images: the eigenvectors of the features' covariance."""

    def __init__(self, features: Float[np.ndarray, "N D"], common: bool) -> None:
        x = torch.from_numpy(np.asarray(features, np.float64))
        self.common, self.mean = common, x.mean(0)
        spread = x.std(0, correction=0)
        constant = spread <= ROUNDING * self.mean.abs()
        self.spread = divisors(spread, constant, common)
        standard = torch.where(constant, torch.zeros_like(x), (x - self.mean) / self.spread)
        _, self.vectors = principal(standard.T @ standard)
        self.rows = with_ones(standard @ self.vectors)

    def undo(self, found: Float[Tensor, "K E"]) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Convert weights and biases for the principal axes to weights and biases for the original features."""
        weights = found[:, :-1] @ self.vectors.T / self.spread
        return weights, found[:, -1] - weights @ self.mean


class WideFeatures(ScaledFeatures):
    """More features than images. Blocks of features are read once for both scalings, and once for the weights.

    If Z contains the scaled features, the eigenvectors U and eigenvalues V of Z Z' give the coordinates
    Z Z' U / sqrt(V) = U sqrt(V), so that no matrix with N rows and D columns is needed.
    """

    def __init__(self, rows: RowMatrix, scalings: Sequence[bool]) -> None:
        self.rows = rows
        images, width = rows.shape
        self.mean, self.spread = torch.zeros(width).double(), torch.zeros(width).double()
        self.constant = torch.zeros(width, dtype=torch.bool)
        # Z Z' with each scaling. With the common one, Z is not divided by its number, which is not known yet.
        self.products = {common: torch.zeros(images, images).double() for common in scalings}
        self.blocks = list(blocks(width, images))

    @property
    def steps(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    def prepare(self) -> Iterator[int]:
        """Read all features, and yield the number of finished blocks after each."""
        for done, (low, high) in enumerate(self.blocks, 1):
            found = self.rows.columns(low, high)
            check_finite_features(found)
            x = torch.from_numpy(found.astype(np.float64))
            self.mean[low:high] = x.mean(0)
            x -= self.mean[low:high]
            self.spread[low:high] = x.square().mean(0).sqrt()
            self.constant[low:high] = self.spread[low:high] <= ROUNDING * self.mean[low:high].abs()
            x[:, self.constant[low:high]] = 0
            if True in self.products:
                add_products(self.products[True], x)
            if False in self.products:
                x /= divisors(self.spread[low:high], self.constant[low:high], False)
                add_products(self.products[False], x)
            yield done

    def read_centred(self, low: int, high: int) -> Float[Tensor, "N d"]:
        """Return a block of features minus their means. Constant features are 0."""
        x = torch.from_numpy(self.rows.columns(low, high).astype(np.float64))
        x -= self.mean[low:high]
        x[:, self.constant[low:high]] = 0
        return x

    def axes(self, common: bool) -> PrincipalAxes:
        """Return the features in the coordinates of their principal axes, and forget what only they need."""
        return WideAxes(self, common)


class WideAxes(PrincipalAxes):
    """The principal axes of more features than images, computed from the inner products of the images."""

    def __init__(self, features: WideFeatures, common: bool) -> None:
        self.features, self.common = features, common
        self.spread = divisors(features.spread, features.constant, common)
        if common:
            features.products[common] /= features.spread.square().mean().clamp_min(1e-300)
        self.variances, vectors = principal(features.products.pop(common))
        self.rows = with_ones(vectors.mul_(self.variances.sqrt()))

    def undo(self, found: Float[Tensor, "K E"]) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Convert weights and biases for the principal axes to weights and biases for the original features.

        With the names of `WideFeatures`, the axes are Z' U / sqrt(V) = Z' (U sqrt(V)) / V.
        """
        shares = found[:, :-1] / self.variances @ self.rows[:, :-1].T
        weights = found.new_zeros(len(found), len(self.spread))
        for low, high in self.features.blocks:
            # The first division completes Z, and the second converts weights for Z.
            weights[:, low:high] = shares @ self.features.read_centred(low, high) / self.spread[low:high].square()
        return weights, found[:, -1] - weights @ self.features.mean


def add_products(total: Float[Tensor, "N N"], x: Float[Tensor, "N d"]) -> None:
    """Add the lower triangle of `x @ x.T` to `total`. Parts of the upper triangle are added as well."""
    for low, high in pairwise(band_bounds(len(x))):
        total[low:high, :high].addmm_(x[low:high], x[:high].T)
