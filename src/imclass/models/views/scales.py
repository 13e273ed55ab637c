"""Scales of a protocol: the lengths in pixels to which an image's shorter side is rescaled, called Q in the papers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from imclass.core.contracts import ViewProtocol
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess


def training_scale(preprocess: Preprocess) -> int:
    """Return the Q at which a model was trained.

    If `preprocess` has no scale (`resize` is "squash" or "none"), this is the native size.
    """
    return preprocess.scale if preprocess.resize == "shorter" else preprocess.size


def proportional_scales(scales: Sequence[int], native: int, size: int) -> tuple[int, ...]:
    """Convert scales for the native size `native` to scales for the native size `size`, rounding halves up."""
    return tuple((2 * q * size + native) // (2 * native) for q in scales)


def check_scales(what: str, scales: Sequence[int], preprocess: Preprocess) -> None:
    """Raise a `UserError` for a Q below the native size. The message begins with `what`, such as "protocol dense"."""
    for q in scales:
        if q < preprocess.size:
            raise UserError(
                f"{what}: Q is {q} pixels; it must be at least {preprocess.size}, the network's native size"
            )


def replace_scales(protocol: ViewProtocol, scales: Sequence[int]) -> ViewProtocol:
    """Return a copy of the protocol with these scales. Raise a `UserError` for a protocol that has no scales."""
    text = " ".join(map(str, scales))
    if not hasattr(protocol, "scales"):
        raise UserError(
            f"--scales {text}: protocol {protocol.name} has no scales. Use a protocol with scales, such as "
            "dense or vgg-multicrop"
        )
    if not scales or min(scales) < 1:
        raise UserError(f"--scales is {text or 'empty'}; it must be one or more lengths in pixels, such as 256 384 512")
    instance: Any = protocol  # a frozen dataclass, which the contract's types cannot express
    changed: ViewProtocol = replace(instance, scales=tuple(scales))
    return changed
