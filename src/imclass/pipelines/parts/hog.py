"""Histograms of oriented gradients: blocks of cells, in each of which gradients are summed by orientation.

N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005, section 6. The gradient at a
pixel p is that of the colour with the longest one, by central differences without smoothing. Differences across an edge
of the image are 0. Let m be the gradient's length and a its angle, and u = (p - c) / s the distance of p from the
centre c of a block of b x b cells, in cells of s pixels. With the triangle t(z) = max(0, 1 - |z|) and n orientations,
value (i, j, o) of the block is the sum over its pixels

    (1)  sum_p m g(u_y) t(u_y - i + (b - 1) / 2) g(u_x) t(u_x - j + (b - 1) / 2) t(n a / pi - o - 1/2 mod n),

where g(z) = exp(-z^2 / (2 (b / 2)^2)), and 2 pi replaces pi if signs count. A gradient is thus divided between the
nearest cells and orientations, and counts less near the edges of the block. The vector gets unit length, is clipped at
0.2, and gets unit length again (L2-Hys).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from imclass.core.bounds import AtLeast, AtMost
from imclass.pipelines.dense.gradients import clip_and_normalise, orientation_maps
from imclass.pipelines.dense.grid import GridExtractor
from imclass.pipelines.dense.pooling import Axis, sum_bins

WINDOW = 0.5  # standard deviation of the Gaussian g in blocks


@dataclass
class Hog(GridExtractor):
    """Blocks of a histogram of oriented gradients, by default one at each cell.

    Blocks with hardly any gradient are kept, and their descriptors are 0. An image of 64 x 128 pixels has 105 blocks of
    36 values, as in the paper.
    """

    kind: ClassVar[str] = "hog"
    cell: Annotated[int, AtLeast(2), AtMost(64)] = 8  # side of a cell in pixels
    block: Annotated[int, AtLeast(1), AtMost(8)] = 2  # cells along each side of a block
    step: Annotated[int, AtLeast(0)] = 0  # pixels between neighbouring blocks; 0: a cell, so that blocks overlap
    orientations: Annotated[int, AtLeast(2), AtMost(36)] = 9  # in each cell
    signed: bool = False  # whether opposite gradients differ; otherwise dark on light equals light on dark
    contrast: Annotated[float, AtLeast(0)] = 0.5  # the least weighted mean gradient of a block, in grey levels a pixel
    max_side: Annotated[int, AtLeast(0)] = 500  # larger images are reduced so that their longer side is this; 0: never

    @property
    def width(self) -> int:
        return self.block * self.block * self.orientations

    @property
    def sides(self) -> list[int]:
        return [self.block * self.cell]

    @property
    def spacing(self) -> int:
        return self.step or self.cell

    def describe(
        self, image: UInt8[np.ndarray, "H W C"], sides: Sequence[int], rows: Axis, columns: Axis
    ) -> Float32[np.ndarray, "D d"]:
        """Return the blocks, by row and column. Their values are ordered by row and column of the cell."""
        maps = orientation_maps(*longest_gradients(image), self.orientations, self.signed, first=0.5)
        sums = sum_bins(maps, block_weights(self.cell, self.block), rows, columns).reshape(-1, self.width)
        clip_and_normalise(sums, self.contrast)
        return sums.numpy()


def longest_gradients(
    image: UInt8[np.ndarray, "H W C"],
) -> tuple[Float32[Tensor, "H W"], Float32[Tensor, "H W"]]:
    """Return the gradient of the colour with the longest one at each pixel, along x and y. Of equals, the first counts.

    Differences across an edge of the image are 0.
    """
    best_x, best_y = differences(image[:, :, 0])
    if image.shape[2] > 1:
        longest = best_x * best_x + best_y * best_y
        for k in range(1, image.shape[2]):
            dx, dy = differences(image[:, :, k])
            squares = dx * dx + dy * dy
            longer = squares > longest
            best_x, best_y = torch.where(longer, dx, best_x), torch.where(longer, dy, best_y)
            longest = torch.maximum(longest, squares)
    return best_x, best_y


def differences(plane: UInt8[np.ndarray, "H W"]) -> tuple[Float32[Tensor, "H W"], Float32[Tensor, "H W"]]:
    """Return the central differences of neighbouring pixels, along x and y. Those across an edge are 0."""
    values = torch.from_numpy(np.multiply(plane, 0.5, dtype=np.float32))
    dx, dy = torch.zeros_like(values), torch.zeros_like(values)
    torch.sub(values[:, 2:], values[:, :-2], out=dx[:, 1:-1])
    torch.sub(values[2:], values[:-2], out=dy[1:-1])
    return dx, dy


def block_weights(cell: int, block: int) -> Float32[Tensor, "b length"]:
    """Return g(u) t(u - i + (b - 1) / 2) in equation (1) at each pixel, divided by the sum over cells and pixels.

    If the number of pixels is odd, a weight of 0 comes first.
    """
    pixels = block * cell
    u = (np.arange(-(pixels % 2), pixels) + 0.5) / cell - block / 2
    middles = np.arange(block)[:, None] - (block - 1) / 2
    weights = np.maximum(1 - np.abs(u - middles), 0) * np.exp(-(u**2) / (2 * (WINDOW * block) ** 2))
    weights[:, u < -block / 2] = 0
    return torch.from_numpy((weights / weights.sum()).astype(np.float32))


PARTS = {"hog": Hog}
