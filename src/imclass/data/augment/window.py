"""Geometric augmentation. Windows are first chosen without touching any pixels, and then applied once.

Applying windows to a batch of views gives exactly the same pixels as applying them to one decoded image at a time.
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

# The same type as `core.contracts.Image`, whose module imports torch. The help for recipes should not need torch.
PixelArray: TypeAlias = UInt8[np.ndarray, "_ _ _"]


@dataclass(frozen=True, eq=False)
class Windows:
    """The visible parts of N images.

    `size` is the height and width of the views in pixels, the network's input size. `boxes` contains the part of each
    source image that is resized to this size: left, top, right and bottom, in pixels but not rounded. Without boxes,
    the default preprocessing creates the views. Each window has the size of its view and begins at (top, left), which
    may lie outside the view. The windows for which `mirrored` is true are flipped horizontally.
    """

    size: int

    top: Int64[np.ndarray, "N"]
    left: Int64[np.ndarray, "N"]
    mirrored: Bool[np.ndarray, "N"]
    boxes: Float64[np.ndarray, "N 4"] | None = None

    def move(self, top: Int64[np.ndarray, "N"], left: Int64[np.ndarray, "N"]) -> "Windows":
        """Return the windows after moving them down by `top` and right by `left` pixels, as seen after mirroring."""
        return replace(self, top=self.top + top, left=self.left + np.where(self.mirrored, -left, left))

    def mirror(self, mask: Bool[np.ndarray, "N"]) -> "Windows":
        """Return the windows after flipping those selected by `mask`."""
        return replace(self, mirrored=self.mirrored ^ mask)

    def source_boxes(self, sizes: Int64[np.ndarray, "N 2"]) -> Float64[np.ndarray, "N 4"]:
        """Return the boxes or, if there are none, boxes that cover whole images of these heights and widths."""
        if self.boxes is not None:
            return self.boxes
        zeros = np.zeros(len(sizes))
        return np.stack([zeros, zeros, sizes[:, 1], sizes[:, 0]], axis=1)


class WindowKind(Protocol):
    """A kind of augmentation that chooses windows. Whether it sets `boxes` must not depend on the random draws."""

    def windows(
        self, before: Windows, sizes: Int64[np.ndarray, "N 2"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> Windows:
        """Return new windows computed from `before`. `sizes` contains the heights and widths of the source images."""
        ...


def is_window_kind(rule: object) -> TypeGuard[WindowKind]:
    """Return whether a rule chooses windows."""
    return hasattr(rule, "windows")  # `isinstance` with a `Protocol` would take longer than choosing the windows


def choose(
    sizes: Int64[np.ndarray, "N 2"], size: int, rules: Sequence[Augment], draws: Draws, ids: Int64[np.ndarray, "N"]
) -> Windows:
    """Apply the rules in order, and return the resulting windows for images of these heights and widths.

    `size` is the height and width of the views.
    """
    zeros = np.zeros(len(ids), np.int64)
    windows = Windows(size, zeros, zeros, zeros.astype(bool))
    for rule, scoped in scope_draws(rules, draws):
        if is_window_kind(rule):
            windows = rule.windows(windows, sizes, scoped, ids)
    return windows


def scope_draws(rules: Sequence[Augment], draws: Draws) -> Iterator[tuple[Augment, Draws]]:
    """Yield each rule with its own random draws.

    Draws differ between rules of the same kind, and do not depend on rules of other kinds.
    """
    seen = Counter[str]()
    for rule in rules:
        yield rule, draws.in_scope(f"{rule.kind}.{seen[rule.kind]}" if seen[rule.kind] else rule.kind)
        seen[rule.kind] += 1


def has_source_boxes(rules: Sequence[Augment]) -> bool:
    """Return whether the rules choose parts of the source images. If so, views cannot be kept for the next epoch."""
    return choose(np.ones((1, 2), np.int64), 1, rules, Draws(0), np.zeros(1, np.int64)).boxes is not None


def render_view(image: PixelArray, windows: Windows, preprocess: Preprocess) -> PixelArray:
    """Return the view of one image, using its box in `windows` if there is one. The window itself is not applied."""
    if windows.boxes is None:
        return preprocess(image)
    left, top, right, bottom = windows.boxes[0].tolist()
    return preprocess.resize_to(
        preprocess.convert_colour(image), preprocess.size, preprocess.size, (left, top, right, bottom)
    )


def apply_windows(
    views: UInt8[np.ndarray, "N C H W"], windows: Windows, fill: UInt8[np.ndarray, "C"]
) -> UInt8[np.ndarray, "N C H W"]:
    """Return the pixels inside the windows. Pixels outside the views are set to `fill`. `views` is not modified."""
    moves = windows.top.any() or windows.left.any()
    if not windows.mirrored.any():
        return shift_pixels(views, windows, fill) if moves else np.ascontiguousarray(views)
    pixels = shift_pixels(views, windows, fill) if moves else np.array(views, order="C")
    pixels[windows.mirrored] = pixels[windows.mirrored][..., ::-1]
    return pixels


def shift_pixels(
    views: UInt8[np.ndarray, "N C H W"], windows: Windows, fill: UInt8[np.ndarray, "C"]
) -> UInt8[np.ndarray, "N C H W"]:
    """Return the pixels inside the windows before flipping. Pixels outside the views are set to `fill`."""
    n, channels, height, width = views.shape
    # A window moved by more than the size of the view shows none of it, so its offset is clipped to save padding.
    top = np.minimum(np.maximum(windows.top, -height), height)
    left = np.minimum(np.maximum(windows.left, -width), width)
    pad_y, pad_x = abs(top).max(), abs(left).max()
    padded = np.empty((n, channels, height + 2 * pad_y, width + 2 * pad_x), np.uint8)
    padded[:] = fill[:, None, None]
    padded[:, :, pad_y : pad_y + height, pad_x : pad_x + width] = views
    # One gather over all windows copies whole rows. For images as small as MNIST's, it is faster than a loop or torch's
    # gather.
    return sliding_window_view(padded, (height, width), axis=(2, 3))[np.arange(n), :, pad_y + top, pad_x + left]
