"""Local colour statistics: the mean and the standard deviation of R, G and B in the 4 x 4 bins of each patch.

S. Clinchant, G. Csurka, F. Perronnin, J.-M. Renders, "XRCE's participation to ImagEval", ImagEval workshop 2007;
F. Perronnin, J. Sanchez, T. Mensink, "Improving the Fisher kernel for large-scale image classification", ECCV 2010.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from imclass.pipelines.dense.grid import DenseExtractor
from imclass.pipelines.dense.pooling import BINS, Axis, sum_bins

CHANNELS = 3


@dataclass
class ColourStatistics(DenseExtractor):
    """Means and standard deviations of colours on a grid, from 0 to 1.

    Each bin has three means, then three deviations. They are those of the pixels inside the image.
    A bin without any is 0. Grey images have three equal channels.
    """

    kind: ClassVar[str] = "colour-statistics"

    @property
    def width(self) -> int:
        return BINS * BINS * 2 * CHANNELS

    def describe(
        self, image: UInt8[np.ndarray, "H W C"], sides: Sequence[int], rows: Axis, columns: Axis
    ) -> Float32[np.ndarray, "D 96"]:
        """Return the statistics, by scale, row and column."""
        planes = torch.from_numpy(np.repeat(image, CHANNELS // image.shape[2], axis=2)).double().permute(0, 2, 1)
        # Integer sums in float64 are exact. A bin of one colour therefore has a deviation of exactly 0.
        maps = torch.cat([planes, planes * planes, torch.ones_like(planes[:, :1])], 1)
        found = [describe_colours(sum_bins(maps, box_weights(side // BINS), rows, columns)) for side in sides]
        return torch.cat(found).numpy()


def box_weights(side: int) -> Float64[Tensor, "4 _"]:
    """Return 1 for the pixels of each bin along a side of a patch, and 0 for the others."""
    return torch.eye(BINS, dtype=torch.float64).repeat_interleave(side, 1)


def describe_colours(sums: Float64[Tensor, "n m 4 4 7"]) -> Float32[Tensor, "D 96"]:
    """Return means and standard deviations, given the sums of colours, of their squares, and of 1 over each bin."""
    colours, squares, pixels = sums.split([CHANNELS, CHANNELS, 1], -1)
    count = pixels.clamp(min=1)
    variances = (count * squares - colours * colours).clamp(min=0) / (count * count)
    values = torch.cat([colours / count, variances.sqrt()], -1) / 255
    return values.reshape(-1, BINS * BINS * 2 * CHANNELS).float()


PARTS = {"colour-statistics": ColourStatistics}
