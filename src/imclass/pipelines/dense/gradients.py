"""Image gradients, divided between orientations, and the normalisation of histograms of them.

Axes in annotations: H W an image, O orientations, D descriptors, d numbers in each.
"""
# Tested in tests/pipelines/parts/test_hog.py

import math

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

CLIP = 0.2
STRIP = 1 << 17  # numbers in the maps of a strip of rows, so that it fits in the cache of a processor


def orientation_maps(
    dx: Float32[Tensor, "H W"], dy: Float32[Tensor, "H W"], bins: int, signed: bool, first: float = 0.0
) -> Float32[Tensor, "H O W"]:
    """Return the gradient's length at each pixel, divided between the two nearest of `bins` orientations.

    They are equally spaced over the circle if `signed`, and otherwise over the half circle, without regard to the sign
    of the gradient. The first is at `first` times their distance. Angles increase from x to y.
    """
    height, width = dx.shape
    maps = torch.empty(height, bins, width)
    rows = max(1, STRIP // (bins * width))
    for low in range(0, height, rows):
        part = slice(low, low + rows)
        length = torch.hypot(dx[part], dy[part])
        angle = torch.atan2(dy[part], dx[part]).mul_(bins / (2 * math.pi if signed else math.pi))
        angle = torch.where(angle < 0, angle + bins, angle)
        if first:
            angle -= first
            angle = torch.where(angle < 0, angle + bins, angle)
        divide_lengths(length, angle, maps[part])
    return maps


def divide_lengths(
    length: Float32[Tensor, "h W"], angle: Float32[Tensor, "h W"], out: Float32[Tensor, "h O W"]
) -> None:
    """Write each length to `out`, divided between the two nearest orientations. The last one is next to the first."""
    # With s(o) = clip(angle - o, 0, 1), the share of orientation o is s(o - 1) - s(o), and 1 - s(0) + s(O - 1) for
    # o = 0.
    beyond = angle[:, None] - torch.arange(out.shape[1], dtype=torch.float32)[:, None]
    beyond.clamp_(0, 1).mul_(length[:, None])
    torch.sub(beyond[:, :-1], beyond[:, 1:], out=out[:, 1:])
    torch.sub(beyond[:, -1], beyond[:, 0], out=out[:, 0])
    out[:, 0] += length


def clip_and_normalise(sums: Float32[Tensor, "D d"], contrast: float) -> Bool[Tensor, "D"]:
    """Divide descriptors by their length, clip them at 0.2, and divide them by their length again, all in place.

    Those with a sum below `contrast` are set to 0. Return whether a descriptor is 0.
    """
    dark = (sums.sum(1) < contrast) | (sums.amax(1) <= 0)
    for last in (False, True):
        norms = torch.linalg.vector_norm(sums, dim=1, keepdim=True)
        sums.div_(norms.masked_fill_(dark[:, None], torch.inf))
        if not last:
            sums.clamp_(max=CLIP)
    return dark
