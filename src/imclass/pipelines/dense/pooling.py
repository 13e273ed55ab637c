"""Weighted sums of maps over the b x b bins of each patch of a grid, as products with small matrices.

A weight is the product of a weight along y and one along x, so that rows are summed first and then columns. Windows of
neighbouring patches overlap. Each product therefore computes the sums of several patches from one range of pixels.

Axes in annotations: H W an image, M maps, n m rows and columns of patches.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

BINS = 4  # along each side of a patch of SIFT
TOGETHER = 8  # patches along one axis that a product sums


@dataclass(frozen=True)
class Axis:
    """The patches along one side of an image: `count` centres, `step` pixels apart, the first at `first`.

    A centre at c lies between the pixels c - 1 and c.
    """

    first: int
    step: int
    count: int

    def centres(self) -> Float[np.ndarray, "n"]:
        """Return the distances of the centres from the image's edge in pixels."""
        return self.first + self.step * np.arange(self.count, dtype=np.float64)


def place_patches(side: int, patch: int, step: int) -> Axis:
    """Return the patches of `patch` pixels that fit into `side` pixels, with equal margins.

    If `patch` is odd, the centres are half a pixel too far to the left and to the top.
    """
    count = (side - patch) // step + 1
    margin = side - patch - step * (count - 1)
    return Axis(margin // 2 + patch // 2, step, count)


def sum_bins(
    maps: Float[Tensor, "H M W"], weights: Float[Tensor, "b length"], rows: Axis, columns: Axis
) -> Float[Tensor, "n m b b M"]:
    """Return the weighted sums over the bins of each patch, by rows and columns of patches, then of bins.

    `weights` contains the weights of the `length` pixels around a centre in each bin, along y as along x.
    The length is even. Pixels outside the image count as 0.
    """
    height, count, width = maps.shape
    bins = len(weights)
    flat = maps.reshape(height, -1)
    sums = flat.new_empty(rows.count * bins, flat.shape[1])
    for patches, pixels, band in windows_of(rows, weights, height):
        torch.mm(band, flat[pixels], out=sums[patches])
    sums = sums.reshape(-1, width)
    totals = sums.new_empty(len(sums), columns.count * bins)
    for patches, pixels, band in windows_of(columns, weights, width):
        totals[:, patches] = sums[:, pixels] @ band.T
    totals = totals.reshape(rows.count, bins, count, columns.count, bins)
    return totals.permute(0, 3, 1, 4, 2).reshape(rows.count, columns.count, bins, bins, count)


def windows_of(
    axis: Axis, weights: Float[Tensor, "b length"], side: int
) -> Iterator[tuple[slice, slice, Float[Tensor, "_ L"]]]:
    """Yield the sums that each product computes, the pixels that it needs, and its matrix."""
    bins, length = weights.shape
    whole = band_matrix(weights, axis.step, min(TOGETHER, axis.count))
    for low in range(0, axis.count, TOGETHER):
        count = min(TOGETHER, axis.count - low)
        start = axis.first - length // 2 + low * axis.step
        end = start + (count - 1) * axis.step + length
        first, last = max(0, start), min(side, end)
        yield (
            slice(low * bins, (low + count) * bins),
            slice(first, last),
            whole[: count * bins, first - start : last - start],
        )


def band_matrix(weights: Float[Tensor, "b length"], step: int, patches: int) -> Float[Tensor, "_ L"]:
    """Return a matrix that computes the sums of `patches` neighbouring patches from the pixels that they cover."""
    bins, length = weights.shape
    band = weights.new_zeros(patches, bins, (patches - 1) * step + length)
    for i in range(patches):
        band[i, :, i * step : i * step + length] = weights
    return band.reshape(patches * bins, -1)
