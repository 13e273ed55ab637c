"""Colour augmentation, which changes the pixels of one view at a time."""

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeGuard

import numpy as np
from jaxtyping import Int64, UInt8

from imclass.core.config import Augment
from imclass.core.errors import UserError
from imclass.core.randomness import Draws
from imclass.data.augment.window import PixelArray, scope_draws


class ColourKind(Protocol):
    """A kind of augmentation that changes colours."""

    kind: ClassVar[str]

    def colour(self, view: PixelArray, draws: Draws, id: int) -> PixelArray:
        """Return `view` with changed colours. It has the network's input size and may be modified."""
        ...


def is_colour_kind(rule: object) -> TypeGuard[ColourKind]:
    """Return whether a rule changes colours."""
    return hasattr(rule, "colour")


def paint(
    views: UInt8[np.ndarray, "N C H W"], rules: Sequence[Augment], draws: Draws, ids: Int64[np.ndarray, "N"]
) -> UInt8[np.ndarray, "N C H W"]:
    """Return the views after applying the colour rules in order. If there are none, return `views` itself."""
    if not any(map(is_colour_kind, rules)):
        return views
    painters = [(rule, scoped) for rule, scoped in scope_draws(rules, draws) if is_colour_kind(rule)]
    painted = np.empty_like(views)
    for k, id in enumerate(ids.tolist()):
        # Every view is copied to the same memory order, because sums over pixels depend on that order.
        view = np.array(views[k].transpose(1, 2, 0), order="C")
        for rule, scoped in painters:
            changed = rule.colour(view, scoped, id)
            if changed.shape != view.shape or changed.dtype != np.uint8:
                raise UserError(
                    f"the augmentation {rule.kind} turned a view of shape {view.shape} and type uint8 into one of "
                    f"shape {changed.shape} and type {changed.dtype}; its `colour` method must keep both"
                )
            view = changed
        painted[k] = view.transpose(2, 0, 1)
    return painted
