"""Colours of training images: kinds that change the pixels of one view at a time."""

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
        """Return the pixels of one image at the network's size, changed; `view` may be written to."""
        ...


def is_colour_kind(rule: object) -> TypeGuard[ColourKind]:
    """Return whether a rule changes colours."""
    return hasattr(rule, "colour")


def paint(
    views: UInt8[np.ndarray, "N C H W"], rules: Sequence[Augment], draws: Draws, ids: Int64[np.ndarray, "N"]
) -> UInt8[np.ndarray, "N C H W"]:
    """Return views in the colours that the rules give them, in their order; where none does, the views themselves."""
    if not any(map(is_colour_kind, rules)):
        return views
    chosen = [(rule, its_draws) for rule, its_draws in scope_draws(rules, draws) if is_colour_kind(rule)]
    painted = np.empty_like(views)
    for k, id in enumerate(ids.tolist()):
        view = np.array(views[k].transpose(1, 2, 0), order="C")  # sums over pixels depend on how they lie
        for rule, its_draws in chosen:
            changed = rule.colour(view, its_draws, id)
            if changed.shape != view.shape or changed.dtype != np.uint8:
                is_now, was = f"{changed.shape} {changed.dtype}", f"{view.shape} uint8"
                raise UserError(f"the augmentation {rule.kind} made {is_now} of an image {was}; change its method")
            view = changed
        painted[k] = view.transpose(2, 0, 1)
    return painted
