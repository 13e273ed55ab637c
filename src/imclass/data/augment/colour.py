"""Colour augmentation, which changes the pixels of one view at a time."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, TypeGuard

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image as Picture

from imclass.core.config import Augment
from imclass.core.errors import UserError
from imclass.core.randomness import Draws
from imclass.data.augment.window import PixelArray, scope_draws


class ColourKind(Protocol):
    """A kind of augmentation that changes colours."""

    kind: ClassVar[str]

    def colour(self, view: PixelArray, draws: Draws, id: int) -> PixelArray:
        """Return `view` with changed colours.

        `view` has the network's input size, and its channels are in the order RGB. It may be modified.
        """
        ...


def is_colour_kind(rule: object) -> TypeGuard[ColourKind]:
    """Return whether a rule changes colours."""
    return hasattr(rule, "colour")


def paint(
    views: UInt8[np.ndarray, "N C H W"],
    rules: Sequence[Augment],
    draws: Draws,
    ids: Int64[np.ndarray, "N"],
    channels: Literal["rgb", "bgr"] = "rgb",
) -> UInt8[np.ndarray, "N C H W"]:
    """Return the views after applying the colour rules in order. If there are none, return `views` itself.

    `channels` is the order of the channels in the views.
    """
    if not any(map(is_colour_kind, rules)):
        return views
    painters = [(rule, scoped) for rule, scoped in scope_draws(rules, draws) if is_colour_kind(rule)]
    painted = np.empty_like(views)
    step = -1 if channels == "bgr" else 1
    for k, id in enumerate(ids.tolist()):
        # Every view is copied to the same memory order, because sums over pixels depend on that order.
        view = np.array(views[k, ::step].transpose(1, 2, 0), order="C")
        for rule, scoped in painters:
            changed = rule.colour(view, scoped, id)
            if changed.shape != view.shape or changed.dtype != np.uint8:
                raise UserError(
                    f"the augmentation {rule.kind} turned a view of shape {view.shape} and type uint8 into one of "
                    f"shape {changed.shape} and type {changed.dtype}; its `colour` method must keep both"
                )
            view = changed
        painted[k, ::step] = view.transpose(2, 0, 1)
    return painted


def picture_of(view: PixelArray) -> Picture.Image:
    """Return a view as a Pillow image, in RGB or grey."""
    return Picture.fromarray(view[:, :, 0] if view.shape[2] == 1 else view)


def view_of(picture: Picture.Image) -> PixelArray:
    """Return the pixels of a Pillow image in RGB or grey, as an array H W C that the next rule may modify."""
    pixels = np.array(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
