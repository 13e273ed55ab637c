"""Geometry of training images: chosen as values without touching pixels, then applied once.

The same values are applied to one decoded image or to a batch of views kept in memory, with the same bits.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from imclass.core.config import Augment
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws

PixelArray: TypeAlias = UInt8[
    np.ndarray, "_ _ _"
]  # as in the contracts, which import torch: a recipe's help does without


@dataclass(frozen=True, eq=False)
class Windows:
    """The part of each of N images that is shown.

    `boxes` are parts of the sources, resized to the network's size: left, top, right, bottom in pixels, not rounded.
    Without them the preprocess decides. In the resulting view a window of the same size begins at (top, left), which
    may lie outside, and is mirrored left-right where `mirrored` is true.
    """

    top: Int64[np.ndarray, "N"]
    left: Int64[np.ndarray, "N"]
    mirrored: Bool[np.ndarray, "N"]
    boxes: Float64[np.ndarray, "N 4"] | None = None

    def move(self, top: Int64[np.ndarray, "N"], left: Int64[np.ndarray, "N"]) -> "Windows":
        """Return the windows moved down and to the right, as seen in them."""
        return replace(self, top=self.top + top, left=self.left + np.where(self.mirrored, -left, left))

    def mirror(self, chosen: Bool[np.ndarray, "N"]) -> "Windows":
        """Return the windows with the chosen ones mirrored once more."""
        return replace(self, mirrored=self.mirrored ^ chosen)

    def parts(self, sizes: Int64[np.ndarray, "N 2"]) -> Float64[np.ndarray, "N 4"]:
        """Return the boxes, or those of whole images of these heights and widths."""
        if self.boxes is not None:
            return self.boxes
        zeros = np.zeros(len(sizes))
        return np.stack([zeros, zeros, sizes[:, 1], sizes[:, 0]], axis=1)


class WindowKind(Protocol):
    """A kind of augmentation that chooses windows. It sets `boxes` for all images or for none, for any draws."""

    def windows(
        self, before: Windows, sizes: Int64[np.ndarray, "N 2"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> Windows:
        """Return the windows chosen `before`, changed; `sizes` are the sources' heights and widths."""
        ...


def is_window_kind(rule: object) -> TypeGuard[WindowKind]:
    """Return whether a rule chooses windows; `isinstance` with a `Protocol` would take longer than the choice."""
    return hasattr(rule, "windows")


def choose(
    sizes: Int64[np.ndarray, "N 2"], rules: Sequence[Augment], draws: Draws, ids: Int64[np.ndarray, "N"]
) -> Windows:
    """Return the windows that the rules choose, in their order, for images of these heights and widths."""
    zeros = np.zeros(len(ids), np.int64)
    windows = Windows(zeros, zeros, zeros.astype(bool))
    for rule, its_draws in scope_draws(rules, draws):
        if is_window_kind(rule):
            windows = rule.windows(windows, sizes, its_draws, ids)
    return windows


def scope_draws(rules: Sequence[Augment], draws: Draws) -> Iterator[tuple[Augment, Draws]]:
    """Yield each rule with its draws: those of two rules of a kind differ, and no other rule changes them."""
    seen = Counter[str]()
    for rule in rules:
        yield rule, draws.within(f"{rule.kind}.{seen[rule.kind]}" if seen[rule.kind] else rule.kind)
        seen[rule.kind] += 1


def has_source_boxes(rules: Sequence[Augment]) -> bool:
    """Return whether the rules choose parts of the sources: views cannot then be kept from epoch to epoch."""
    return choose(np.ones((1, 2), np.int64), rules, Draws(0), np.zeros(1, np.int64)).boxes is not None


def render_view(image: PixelArray, windows: Windows, preprocess: Preprocess) -> PixelArray:
    """Return one image at the network's size before its window is applied; `windows` holds that one alone."""
    if windows.boxes is None:
        return preprocess(image)
    left, top, right, bottom = windows.boxes[0].tolist()
    return preprocess.to(preprocess.convert_colour(image), preprocess.size, preprocess.size, (left, top, right, bottom))


def apply_windows(
    views: UInt8[np.ndarray, "N C H W"], windows: Windows, fill: UInt8[np.ndarray, "C"]
) -> UInt8[np.ndarray, "N C H W"]:
    """Return what the windows show of views, and `fill` outside of them. The views are not written to."""
    moves = windows.top.any() or windows.left.any()
    if not windows.mirrored.any():
        return shift_pixels(views, windows, fill) if moves else np.ascontiguousarray(views)
    seen = shift_pixels(views, windows, fill) if moves else np.array(views, order="C")
    seen[windows.mirrored] = seen[windows.mirrored][..., ::-1]
    return seen


def shift_pixels(
    views: UInt8[np.ndarray, "N C H W"], windows: Windows, fill: UInt8[np.ndarray, "C"]
) -> UInt8[np.ndarray, "N C H W"]:
    """Return the windows of views, not mirrored."""
    n, channels, height, width = views.shape
    # A window further out than the size of the view shows none of it either, and needs no more padding.
    top = np.minimum(np.maximum(windows.top, -height), height)
    left = np.minimum(np.maximum(windows.left, -width), width)
    tall, wide = abs(top).max(), abs(left).max()
    padded = np.empty((n, channels, height + 2 * tall, width + 2 * wide), np.uint8)
    padded[:] = fill[:, None, None]
    padded[:, :, tall : tall + height, wide : wide + width] = views
    # One gather over windows copies whole rows: faster than a loop or torch's gather at MNIST's size.
    return sliding_window_view(padded, (height, width), axis=(2, 3))[np.arange(n), :, tall + top, wide + left]
