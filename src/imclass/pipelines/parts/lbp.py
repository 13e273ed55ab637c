"""Local binary patterns: histograms of the signs of differences between each pixel and its neighbours.

T. Ojala, M. Pietikainen, T. Maenpaa, "Multiresolution gray-scale and rotation invariant texture classification with
local binary patterns", PAMI 2002. Eight neighbours lie on a circle around a pixel, at equal angles. A neighbour between
pixels is interpolated bilinearly. Its bit is 1 if it is at least as bright as the pixel in the middle. Patterns with at
most two changes between 0 and 1 around the circle are uniform. There are 58 of them, and all others share one bin: the
59 bins are in the order of scikit-image's method `nri_uniform`.

The descriptor of a patch is the histogram of its pixels' patterns, divided by the number of pixels. By default, the
square roots of these shares are used: then the Euclidean length is 1, and the dot product of two descriptors is the
Bhattacharyya coefficient of their histograms.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from PIL import Image as Picture

from imclass.core.bounds import AtLeast, AtMost
from imclass.pipelines.dense.grid import GridExtractor
from imclass.pipelines.dense.pooling import Axis

NEIGHBOURS = 8
UNITS = 100_000  # fractions of a pixel are rounded to 1 / UNITS


@dataclass
class LocalBinaryPatterns(GridExtractor):
    """Histograms of uniform local binary patterns of grey images, on a grid. A patch of one colour has a pattern, too.

    Colour images are converted to grey (luma of ITU-R BT.601). Beyond the edges, the outermost pixels are repeated.
    """

    kind: ClassVar[str] = "lbp"
    patch: Annotated[int, AtLeast(2), AtMost(256)] = 16  # side of a patch in pixels
    step: Annotated[int, AtLeast(1)] = 8  # pixels between neighbouring patches
    radius: Annotated[float, AtLeast(1), AtMost(16)] = 1.0  # of the circle of neighbours in pixels
    root: bool = True  # square roots of the shares of the patterns; otherwise the shares
    max_side: Annotated[int, AtLeast(0)] = 500  # larger images are reduced so that their longer side is this; 0: never

    @property
    def width(self) -> int:
        return int(uniform_bins().max()) + 1

    @property
    def sides(self) -> list[int]:
        return [self.patch]

    @property
    def spacing(self) -> int:
        return self.step

    def describe(
        self, image: UInt8[np.ndarray, "H W C"], sides: Sequence[int], rows: Axis, columns: Axis
    ) -> Float32[np.ndarray, "D 59"]:
        """Return the histograms, by row and column."""
        bins = uniform_bins()[patterns(grey_values(image), self.radius)]
        counts = count_in_patches(bins, self.width, self.patch, rows, columns)
        shares = counts.reshape(-1, self.width) / np.float32(self.patch**2)
        return np.asarray(np.sqrt(shares) if self.root else shares, np.float32)


def grey_values(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W"]:
    """Return the only channel of an image, or its luma."""
    return image[:, :, 0] if image.shape[2] == 1 else np.asarray(Picture.fromarray(image).convert("L"))


def patterns(grey: UInt8[np.ndarray, "H W"], radius: float) -> UInt8[np.ndarray, "H W"]:
    """Return the pattern of each pixel. Bit i is that of the neighbour at i / 8 of the circle, from right to top.

    Positions are rounded to multiples of 1 / UNITS. All numbers are then integers below 2^53, so that float64 is exact,
    and equal values are never taken for different ones.
    """
    reach = math.ceil(radius) + 1
    padded = np.pad(grey, reach, mode="edge").astype(np.float64)
    centre = grey * float(UNITS * UNITS)
    found = np.zeros(grey.shape, np.uint8)
    for i in range(NEIGHBOURS):
        angle = 2 * math.pi * i / NEIGHBOURS
        down, across = (round(UNITS * radius * part) for part in (-math.sin(angle), math.cos(angle)))
        value = interpolate(padded, reach, down, across, grey.shape)
        found |= (value >= centre).astype(np.uint8) << np.uint8(i)
    return found


def interpolate(
    padded: Float64[np.ndarray, "h w"], reach: int, down: int, across: int, shape: tuple[int, ...]
) -> Float64[np.ndarray, "H W"]:
    """Return the values at an offset from each pixel of an image, which has `reach` more pixels at each edge.

    The offset is in 1 / UNITS of a pixel, and values are multiplied by the square of UNITS.
    """
    (row, y), (column, x) = divmod(down, UNITS), divmod(across, UNITS)
    top, left = reach + row, reach + column
    tall = padded[top : top + shape[0] + 1, left : left + shape[1] + 1]
    lines = tall[:-1] * (UNITS - y) + tall[1:] * y if y else tall[:-1] * UNITS
    return lines[:, :-1] * (UNITS - x) + lines[:, 1:] * x if x else lines[:, :-1] * UNITS


def uniform_bins() -> Int64[np.ndarray, "256"]:
    """Return the bin of each pattern: 0 to 57 for the uniform ones, and 58 for the others.

    Bins are ordered by the number of ones, and then by how far the pattern whose lowest bits are 1 is rotated to the
    right.
    """
    found = np.full(1 << NEIGHBOURS, -1, np.int64)
    found[0] = 0
    for number, (ones, turn) in enumerate(itertools.product(range(1, NEIGHBOURS), range(NEIGHBOURS)), 1):
        run = ((1 << ones) - 1) << (NEIGHBOURS - turn)
        found[(run | run >> NEIGHBOURS) & 0xFF] = number
    found[-1] = found.max() + 1
    return np.where(found < 0, found.max() + 1, found)


def count_in_patches(
    bins: Int64[np.ndarray, "H W"], width: int, side: int, rows: Axis, columns: Axis
) -> Int64[np.ndarray, "n m width"]:
    """Return how many pixels of each patch are in each bin.

    Patches overlap. Pixels are therefore counted in the rectangles between all edges of patches, and these counts are
    summed from the image's corner to each edge, so that those of a patch are differences of four sums.
    """
    starts = [axis.first - side // 2 + axis.step * np.arange(axis.count) for axis in (rows, columns)]
    edges = [np.unique(np.concatenate([[0], start, start + side])) for start in starts]
    line, place = (
        np.searchsorted(edge, np.arange(length), side="right") - 1
        for edge, length in zip(edges, bins.shape, strict=True)
    )
    number = (line[:, None] * len(edges[1]) + place) * width + bins
    shape = (len(edges[0]), len(edges[1]), width)
    sums = np.zeros((shape[0] + 1, shape[1] + 1, width), np.int64)
    np.cumsum(np.bincount(number.ravel(), minlength=math.prod(shape)).reshape(shape), 0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], 1, out=sums[1:, 1:])
    top, left = (np.searchsorted(edge, start) for edge, start in zip(edges, starts, strict=True))
    bottom, right = (np.searchsorted(edge, start + side) for edge, start in zip(edges, starts, strict=True))
    upper, lower = sums[top], sums[bottom]
    return lower[:, right] - lower[:, left] - upper[:, right] + upper[:, left]


PARTS = {"lbp": LocalBinaryPatterns}
