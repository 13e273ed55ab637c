"""Augmentation: what a training image may undergo, each random choice a function of (seed, epoch, sample) alone.

Flip and pad-then-crop are operations on a whole batch; a random part of an image of any size is taken one by one.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from imclass.core.config import Augment
from imclass.core.contracts import Image
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws

TRIES = 10  # random parts looked for before the centre is taken


def augment(
    images: UInt8[Tensor, "N C H W"],
    rules: Augment,
    fill: UInt8[Tensor, "C"],
    draws: Draws,
    ids: Int64[np.ndarray, "N"],
    repeat: int = 0,
) -> UInt8[Tensor, "N C H W"]:
    """Left-right flip with probability 1/2 and a shift by up to `rules.pad` pixels, `fill` shining in (He et al. 2015).

    Both only where `rules` ask for them; streams "flip", "top" and "left". The input is not written to.
    """
    views = images.numpy()
    if rules.flip:
        views = flipped(views, draws.uniform(ids, "flip", repeat) < 0.5)
    if rules.pad:
        top, left = (
            (draws.uniform(ids, stream, repeat) * (2 * rules.pad + 1)).astype(np.int64) for stream in ("top", "left")
        )
        views = shifted(views, fill.numpy(), rules.pad, top, left)
    return torch.from_numpy(views)


def flipped(images: UInt8[np.ndarray, "N C H W"], chosen: Bool[np.ndarray, "N"]) -> UInt8[np.ndarray, "N C H W"]:
    """A copy with the chosen images mirrored left-right."""
    images = images.copy()
    images[chosen] = images[chosen][..., ::-1]
    return images


def shifted(
    images: UInt8[np.ndarray, "N C H W"],
    fill: UInt8[np.ndarray, "C"],
    pad: int,
    top: Int64[np.ndarray, "N"],
    left: Int64[np.ndarray, "N"],
) -> UInt8[np.ndarray, "N C H W"]:
    """Each image padded by `pad` pixels of `fill` and cropped back at its own (top, left), in [0, 2 pad]."""
    n, channels, height, width = images.shape
    padded = np.empty((n, channels, height + 2 * pad, width + 2 * pad), np.uint8)
    padded[:] = fill[:, None, None]
    padded[:, :, pad : pad + height, pad : pad + width] = images
    # One gather over windows copies whole rows: faster than a loop or torch's gather at MNIST's size.
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    return windows[np.arange(n), :, top, left]


def crops(rules: Augment) -> bool:
    """Whether these rules take a random part of each image, so that views cannot be kept from epoch to epoch."""
    return rules.area != (1.0, 1.0) or rules.aspect != (1.0, 1.0)


def view(image: Image, preprocess: Preprocess, rules: Augment, draws: Draws, id: int) -> Image:
    """What training sees of one image, before flip and shift: a random part of it at the network's size (size size C).

    Without random parts, what evaluation sees.
    """
    if not crops(rules):
        return preprocess(image)
    top, left, height, width = part(image.shape[0], image.shape[1], rules, draws, id)
    taken = preprocess.coloured(image[top : top + height, left : left + width])
    return preprocess.to(taken, preprocess.size, preprocess.size)


def part(height: int, width: int, rules: Augment, draws: Draws, id: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part (GoogLeNet, Szegedy et al. 2014, section 6).

    The share of the area is uniform, the ratio of width to height uniform in its logarithm, so that a ratio and its
    inverse are alike. A part that does not fit is drawn again, streams "area", "aspect", "x" and "y" counting the tries
    in `repeat`; after 10 tries the largest centred part of an allowed ratio is taken.
    """
    sample = np.array([id], np.int64)
    for trial in range(TRIES):
        area, aspect, x, y = (draws.uniform(sample, stream, trial).item() for stream in ("area", "aspect", "x", "y"))
        share = rules.area[0] + area * (rules.area[1] - rules.area[0])
        low, high = (math.log(ratio) for ratio in rules.aspect)
        ratio = math.exp(low + aspect * (high - low))
        w, h = (round(math.sqrt(share * height * width * r)) for r in (ratio, 1 / ratio))
        if 1 <= w <= width and 1 <= h <= height:
            return int(y * (height - h + 1)), int(x * (width - w + 1)), h, w
    ratio = min(max(width / height, rules.aspect[0]), rules.aspect[1])
    h, w = max(1, min(height, round(width / ratio))), max(1, min(width, round(height * ratio)))
    return (height - h) // 2, (width - w) // 2, h, w
