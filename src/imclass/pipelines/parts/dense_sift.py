"""Dense SIFT: histograms of gradient orientations in the 4 x 4 bins of each patch.

D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, section 6.1, without rotation. Let
m and a be the length and the angle of an image's gradient at pixel p, and u = (p - c) / b its distance from a patch's
centre c in bins of b pixels. With the triangle t(z) = max(0, 1 - |z|), value (i, j, o) of a patch is

    (1)  sum_p m g(u_y) t(u_y - i + 1.5) g(u_x) t(u_x - j + 1.5) t(8 a / 2 pi - o mod 8),  g(z) = exp(-z^2 / (2 2^2)).

The vector gets unit length, is clipped at 0.2, and gets unit length again. Before gradients are computed, the image is
smoothed by a Gaussian of b / 6 pixels, as VLFeat's `vl_phow` does; a photo is assumed to have a blur of 0.5 pixels.

RootSIFT: R. Arandjelovic, A. Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012:
the square root of the vector divided by its sum. Its length is 1, too.

Opponent colours: K. van de Sande, T. Gevers, C. Snoek, "Evaluating color descriptors for object and scene recognition",
PAMI 2010, equation 6. The descriptors of three channels are joined, each with its normalisation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

from imclass.core.bounds import AtLeast
from imclass.pipelines.dense.gradients import clip_and_normalise, orientation_maps
from imclass.pipelines.dense.grid import DenseExtractor
from imclass.pipelines.dense.pooling import BINS, Axis, sum_bins

ORIENTATIONS = 8
WINDOW = 2.0  # standard deviation of the Gaussian g, in bins: half the width of a patch (Lowe)
LUMA = ((0.299, 0.587, 0.114),)  # ITU-R BT.601
OPPONENT = (
    (2**-0.5, -(2**-0.5), 0.0),
    (6**-0.5, 6**-0.5, -2 * 6**-0.5),
    (3**-0.5, 3**-0.5, 3**-0.5),
)


@dataclass
class DenseSift(DenseExtractor):
    """SIFT descriptors on a grid. Patches with hardly any gradient are kept, and their descriptors are 0."""

    kind: ClassVar[str] = "dense-sift"
    colour: Literal["grey", "rgb", "opponent"] = "grey"  # rgb and opponent: 3 x 128 values
    root: bool = True  # RootSIFT
    contrast: Annotated[float, AtLeast(0)] = 0.5  # the least weighted mean gradient of a patch, in grey levels a pixel

    @property
    def width(self) -> int:
        return (1 if self.colour == "grey" else 3) * BINS * BINS * ORIENTATIONS

    def describe(
        self, image: UInt8[np.ndarray, "H W C"], sides: Sequence[int], rows: Axis, columns: Axis
    ) -> Float32[np.ndarray, "D d"]:
        """Return the descriptors of each channel, joined, by scale, row and column."""
        size = rows.count * columns.count
        length = BINS * BINS * ORIENTATIONS
        found = torch.empty(len(sides) * size, self.width)
        for k, channel in enumerate(split_channels(image, self.colour)):
            for i, side in enumerate(patch // BINS for patch in sides):
                smoothed = smooth(channel, math.sqrt(max(0.0, (side / 6) ** 2 - 0.25)))
                maps = orientation_maps(*gradients(smoothed), ORIENTATIONS, signed=True)
                sums = sum_bins(maps, window_weights(side), rows, columns).reshape(size, length)
                normalise_sift(sums, self.contrast, self.root)
                found[i * size : (i + 1) * size, k * length : (k + 1) * length] = sums
        return found.numpy()


def split_channels(image: UInt8[np.ndarray, "H W C"], colour: str) -> list[Float32[Tensor, "H W"]]:
    """Return the channels to describe, with values from 0 to 255. A grey image has three equal RGB channels."""
    planes = [torch.from_numpy(np.ascontiguousarray(image[:, :, k], np.float32)) for k in range(image.shape[2])]
    if len(planes) == 1:  # differences of equal channels are exactly 0
        return {
            "grey": planes,
            "rgb": planes * 3,
            "opponent": [torch.zeros_like(planes[0])] * 2 + [planes[0] * math.sqrt(3)],
        }[colour]
    if colour == "rgb":
        return planes
    red, green, blue = planes
    rows = LUMA if colour == "grey" else OPPONENT
    return [red * row[0] + green * row[1] + blue * row[2] for row in rows]


def smooth(channel: Float32[Tensor, "H W"], sigma: float) -> Float32[Tensor, "H W"]:
    """Return the channel smoothed by a Gaussian of `sigma` pixels. Pixels at the edges are repeated outside.

    PyTorch's convolution would be slower, and keep memory for every size of image that it has met.
    """
    radius = math.ceil(4 * sigma)
    if not radius:
        return channel
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    weights = (kernel / kernel.sum()).tolist()
    padded = functional.pad(channel[None, None], (radius, radius, radius, radius), mode="replicate")[0, 0]
    return shifted_sum(shifted_sum(padded, weights, 0), weights, 1)


def shifted_sum(x: Float32[Tensor, "_ _"], weights: Sequence[float], dim: int) -> Float32[Tensor, "_ _"]:
    """Return the sum of `x`, shifted along `dim` by 0, 1, 2 ... and multiplied by the weights."""
    length = x.shape[dim] - len(weights) + 1
    total = x.narrow(dim, 0, length) * weights[0]
    for shift, weight in enumerate(weights[1:], 1):
        total.add_(x.narrow(dim, shift, length), alpha=weight)
    return total


def gradients(channel: Float32[Tensor, "H W"]) -> tuple[Float32[Tensor, "H W"], Float32[Tensor, "H W"]]:
    """Return the central differences along x and y. Pixels at the edges are repeated outside."""
    padded = functional.pad(channel[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    return (padded[1:-1, 2:] - padded[1:-1, :-2]) * 0.5, (padded[2:, 1:-1] - padded[:-2, 1:-1]) * 0.5


def window_weights(side: int) -> Float32[Tensor, "4 length"]:
    """Return g(u) t(u - i + 1.5) in equation (1) at each pixel, divided by the sum over bins and pixels."""
    radius = math.ceil(2.5 * side)
    u = (torch.arange(-radius, radius, dtype=torch.float64) + 0.5) / side
    middles = torch.arange(BINS)[:, None] - (BINS - 1) / 2
    weights = (1 - (u - middles).abs()).clamp(min=0) * torch.exp(-(u**2) / (2 * WINDOW**2))
    return (weights / weights.sum()).float()


def normalise_sift(sums: Float32[Tensor, "D 128"], contrast: float, root: bool) -> None:
    """Normalise descriptors in place. Set those with a sum below `contrast` to 0, and those that are 0 already."""
    dark = clip_and_normalise(sums, contrast)
    if root:
        totals = sums.sum(1, keepdim=True)
        sums.div_(totals.masked_fill_(dark[:, None], 1)).clamp_(min=0).sqrt_()


PARTS = {"dense-sift": DenseSift}
