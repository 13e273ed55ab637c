"""Weighted sums of maps over the 4 x 4 bins of each patch of a grid, as products with small matrices.

A weight is the product of a weight along y and one along x, so that rows are summed first and then columns. Windows of
neighbouring patches overlap. Each product therefore computes the sums of several patches from one range of pixels.

Axes in annotations: H W an image, M maps, n m rows and columns of patches.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

BINS = 4  # along each side of a patch
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
    """Return the patches of `patch` pixels, an even number, that fit into `side` pixels, with equal margins."""
    count = (side - patch) // step + 1
    margin = side - patch - step * (count - 1)
    return Axis(margin // 2 + patch // 2, step, count)


def sum_bins(
    maps: Float[Tensor, "H M W"], weights: Float[Tensor, "4 length"], rows: Axis, columns: Axis
) -> Float[Tensor, "n m 4 4 M"]:
    """Return the weighted sums over the bins of each patch, by rows and columns of patches, then of bins.

    `weights` contains the weights of the `length` pixels around a centre in each bin, along y as along x.
    The length is even. Pixels outside the image count as 0.
    """
    height, count, width = maps.shape
    radius = weights.shape[1] // 2
    band = band_matrix(weights, rows.step, min(TOGETHER, rows.count))
    tall = pad_windows(maps.reshape(height, count * width).T, rows, radius, band.shape[1]).T.contiguous()
    parts = windows_of(tall, rows, band.shape)  # blocks of rows x length x (M W)
    sums = torch.bmm(band.expand(len(parts), -1, -1), parts).reshape(-1, width)[: rows.count * BINS * count]

    band = band_matrix(weights, columns.step, min(TOGETHER, columns.count))
    long = pad_windows(sums, columns, radius, band.shape[1]).contiguous()
    parts = windows_of(long.T, columns, band.shape).transpose(1, 2)  # blocks of columns x (n 4 M) x length
    totals = torch.bmm(parts, band.T.expand(len(parts), -1, -1))
    totals = totals.reshape(len(parts), rows.count, BINS, count, -1, BINS).permute(1, 0, 4, 2, 5, 3)
    return totals.reshape(rows.count, -1, BINS, BINS, count)[:, : columns.count]


def band_matrix(weights: Float[Tensor, "4 length"], step: int, patches: int) -> Float[Tensor, "_ L"]:
    """Return a matrix that computes the sums of `patches` neighbouring patches from the pixels that they cover."""
    bins, length = weights.shape
    band = weights.new_zeros(patches, bins, (patches - 1) * step + length)
    for i in range(patches):
        band[i, :, i * step : i * step + length] = weights
    return band.reshape(patches * bins, -1)


def pad_windows(x: Float[Tensor, "K side"], axis: Axis, radius: int, length: int) -> Float[Tensor, "K longer"]:
    """Return `x` with zeros around it, from the first pixel of the first window to the end of the last block."""
    start = axis.first - radius
    blocks = -(-axis.count // TOGETHER)
    end = start + (blocks - 1) * TOGETHER * axis.step + length
    return functional.pad(x, (-start, end - x.shape[1]))


def windows_of(x: Float[Tensor, "longer K"], axis: Axis, band: tuple[int, ...]) -> Float[Tensor, "B L K"]:
    """Return a view of `x` in which the overlapping blocks of patches follow each other."""
    blocks = -(-axis.count // TOGETHER)
    stride, inner = x.stride()
    return x.as_strided((blocks, band[1], x.shape[1]), (TOGETHER * axis.step * stride, stride, inner))
