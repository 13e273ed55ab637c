"""Scaled features of many images, for linear classifiers: blocks of rows in float32, without principal axes.

The coordinates of principal axes (`principal_axes.py`) would need a matrix that is too large in float64. Features are
read in blocks and centred. As many blocks as fit into a fixed amount of memory are kept there, and the others are read
again in each pass. Products with the features are in float32, and everything else is in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from imclass.pipelines.principal_axes import (
    ROUNDING,
    add_products,
    check_finite_features,
    divisors,
)
from imclass.pipelines.quasi_newton import DiagonalInverse, Inverse, RowProducts
from imclass.pipelines.rows import RowMatrix, blocks

MOST_EXACT = 1 << 27  # coordinates of principal axes, of which several copies in float64 are in memory: 1 GiB each
KEPT_NUMBERS = 1 << 30  # of centred features in memory: 4 GiB
MOST_PRODUCTS = 1 << 29  # of features with each other, of which up to three copies are in memory: 2 GiB each
GAP = 1e-4  # `smallest_gap` of products in float32


def needs_blocks(rows: RowMatrix) -> bool:
    """Return whether the coordinates of principal axes would take too much memory and time."""
    return len(rows) * min(rows.shape) > MOST_EXACT


class CentredBlocks:
    """The features of N images minus their means. Those that do not vary are 0 in all products."""

    def __init__(self, rows: RowMatrix) -> None:
        self.rows, (images, width) = rows, rows.shape
        self.bounds = list(blocks(images, width))
        self.kept: dict[int, Float32[Tensor, "n D"]] = {}  # keyed by the first row
        self.mean, self.spread = np.zeros(width), np.zeros(width)
        # Products of features with each other, summed over images; lower triangle. None: they would be too many.
        self.products = torch.zeros(width, width) if width**2 <= MOST_PRODUCTS else None

    def measure(self) -> Iterator[None]:
        """Compute means, standard deviations and products, and keep some blocks. Yield twice for each block.

        Raise `UserError` if any features are not finite.
        """
        squares, room = np.zeros_like(self.mean), KEPT_NUMBERS
        for low, high in self.bounds:
            found = self.rows[low:high]
            check_finite_features(found)
            wide = found.astype(np.float64)
            middle = wide.mean(0)
            wide -= middle
            moved = middle - self.mean
            squares += np.square(wide, out=wide).sum(0) + moved**2 * (low * (high - low) / high)
            self.mean += moved * ((high - low) / high)
            if found.size <= room:
                self.kept[low], room = torch.from_numpy(found.astype(np.float32, copy=False)), room - found.size
            yield
        self.spread = np.sqrt(squares / len(self.rows))
        for low in self.kept:
            self.kept[low] = self.centre(self.kept[low])
        if self.products is None:
            yield from [None] * len(self.bounds)
            return
        for _, block in self:
            add_products(self.products, block.T)
            yield

    def centre(self, block: Float32[Tensor, "n D"]) -> Float32[Tensor, "n D"]:
        """Return a block of features minus their means."""
        return block - torch.from_numpy(self.mean.astype(np.float32))

    def __iter__(self) -> Iterator[tuple[slice, Float32[Tensor, "n D"]]]:
        """Yield the positions of each block's images, and their centred features."""
        for low, high in self.bounds:
            block = self.kept.get(low)
            if block is None:
                block = self.centre(torch.from_numpy(self.rows[low:high].astype(np.float32, copy=False)))
            yield slice(low, high), block


class FeatureBlocks(RowProducts):
    """Scaled features of N images, followed by a column of ones. It stands for a matrix [N E] in float64."""

    smallest_gap = GAP

    def __init__(self, centred: CentredBlocks, factors: Float[Tensor, "D"]) -> None:
        self.centred, self.factors = centred, factors
        self.shape = (len(centred.rows), len(factors) + 1)

    def scores(self, weights: Float[Tensor, "M E"]) -> Float[Tensor, "M N"]:
        """Return the product of some weights with each image's features."""
        scaled, found = (weights[:, :-1] * self.factors).float(), weights.new_empty(len(weights), self.shape[0])
        for images, block in self.centred:
            found[:, images] = scaled @ block.T
        return found + weights[:, -1:]

    def slope(self, errors: Float[Tensor, "M N"]) -> Float[Tensor, "M E"]:
        """Return the sum of all images' features, multiplied by the images' errors."""
        total, single = torch.zeros(len(errors), self.shape[1]).double(), errors.float()
        for images, block in self.centred:
            total[:, :-1] += single[:, images] @ block
        total[:, :-1] *= self.factors
        total[:, -1] = errors.sum(1)
        return total

    def squares(self, shares: Float[Tensor, "F N"]) -> Float[Tensor, "F E"]:
        """Return about the sum of the squared features, multiplied by the images' shares: as if all varied equally."""
        spread = torch.from_numpy(self.centred.spread) * self.factors
        varied = torch.cat([spread.square(), torch.ones(1).double()])
        return shares.sum(1, keepdim=True) * varied

    def inverse(self, curvature: Float[Tensor, "F 1 E"], ridge: Float[Tensor, "E"]) -> Inverse:
        """Return an approximate inverse of the second-derivative matrix.

        It is the same for each fit, or only a diagonal if there are more features than `MOST_PRODUCTS` allows.
        """
        if self.centred.products is None:
            return DiagonalInverse(1 / (curvature + ridge))
        mean = curvature[:, 0, -1].mean()
        factors = self.factors.float()
        matrix = self.centred.products * factors
        matrix *= (mean / self.shape[0] * factors)[:, None].float()
        diagonal, least = matrix.diagonal(), ROUNDING * float(matrix.diagonal().sum())
        diagonal += ridge[:-1].float()
        while True:
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if not failed:
                return CholeskyInverse(factor, float(mean))
            diagonal += least
            least *= 10


@dataclass(frozen=True, eq=False)
class CholeskyInverse(Inverse):
    """The inverse of a matrix [E E] with the Cholesky factor of all but the last row and column, which are diagonal."""

    factor: Float32[Tensor, "D D"]
    last: float

    def times(self, slope: Float[Tensor, "F K E"]) -> Float[Tensor, "F K E"]:
        """Return the product of the inverse with a gradient."""
        size = slope.norm().clamp_min(1e-300)  # keeps float32 numbers in range
        flat = (slope[..., :-1].flatten(0, 1).T / size).float()
        solved = torch.cholesky_solve(flat, self.factor).T.double() * size
        return torch.cat([solved.unflatten(0, slope.shape[:2]), slope[..., -1:] / self.last], 2)


class BlockFeatures:
    """The features of many images, read in blocks of rows."""

    def __init__(self, rows: RowMatrix) -> None:
        self.centred = CentredBlocks(rows)

    @property
    def steps(self) -> int:
        """Return twice the number of blocks."""
        return 2 * len(self.centred.bounds)

    def prepare(self) -> Iterator[int]:
        """Read all features, and yield the number of finished blocks after each."""
        for done, _ in enumerate(self.centred.measure(), 1):
            yield done

    def axes(self, common: bool) -> "BlockAxes":
        """Return the scaled features."""
        return BlockAxes(self.centred, common)


class BlockAxes:
    """Scaled features in the coordinates of the features themselves."""

    def __init__(self, centred: CentredBlocks, common: bool) -> None:
        self.common, self.centred = common, centred
        mean, spread = torch.from_numpy(centred.mean), torch.from_numpy(centred.spread)
        constant: Bool[Tensor, D] = spread <= ROUNDING * mean.abs()
        self.factors = torch.where(constant, 0, 1 / divisors(spread, constant, common))
        self.rows = FeatureBlocks(centred, self.factors)

    def undo(self, found: Float[Tensor, "K E"]) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K"]]:
        """Convert weights and biases for scaled features to weights and biases for the original features."""
        weights = found[:, :-1] * self.factors
        return weights, found[:, -1] - weights @ torch.from_numpy(self.centred.mean)
