"""The scales of a protocol: the sides in pixels to which the shorter side of an image is rescaled, the papers' Q."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from imclass.core.contracts import ViewProtocol
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess


def training_scale(preprocess: Preprocess) -> int:
    """The Q that a model was trained with.

    One whose own rule has none (squash, none) has its native size, so that an image of that size is taken as it is.
    """
    return preprocess.scale if preprocess.resize == "shorter" else preprocess.size


def proportional_scales(scales: Sequence[int], native: int, size: int) -> tuple[int, ...]:
    """Scales given for a network of `native` pixels a side, for one of `size`: rounded, halves up."""
    return tuple((2 * q * size + native) // (2 * native) for q in scales)


def check_scales(protocol: str, scales: Sequence[int], preprocess: Preprocess) -> None:
    """A Q below the native size is a `UserError`."""
    for q in scales:
        if q < preprocess.size:
            raise UserError(
                f"protocol {protocol}: Q is {q} pixels; it must be at least the network's native size {preprocess.size}"
            )


def replace_scales(protocol: ViewProtocol, scales: Sequence[int]) -> ViewProtocol:
    """The protocol at these Q instead of its own; one that has no list of scales is a `UserError`."""
    given, named = " ".join(map(str, scales)), protocol.name
    if not hasattr(protocol, "scales"):
        raise UserError(
            f"--scales {given}: protocol {named} has no scales; take one that has, such as dense or vgg-multicrop"
        )
    if not scales or min(scales) < 1:
        raise UserError(f"--scales is {given or 'empty'}; it must be one or more sides in pixels, such as 256 384 512")
    instance: Any = protocol  # a frozen dataclass, which its contract cannot say in types
    changed: ViewProtocol = replace(instance, scales=tuple(scales))
    return changed
