"""Augmentation that mixes the images of one part of a step, and their targets in the same proportions.

Images of different parts are never mixed, so the result does not depend on how many processes compute a step.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeAlias, TypeGuard

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from imclass.core.config import Augment
from imclass.core.randomness import Draws
from imclass.data.augment.window import scope_draws

PartImages: TypeAlias = UInt8[np.ndarray, "N C H W"] | Float32[np.ndarray, "N C H W"]  # floats are in [0, 1]
Fractions: TypeAlias = Float32[np.ndarray, "N K"]  # fractions of classes, as in `core.targets.Soft`
MixedPart: TypeAlias = tuple[PartImages, Fractions]


class MixKind(Protocol):
    """A kind of augmentation that mixes images."""

    kind: ClassVar[str]

    def mix(self, images: PartImages, targets: Fractions, draws: Draws, ids: Int64[np.ndarray, "N"]) -> MixedPart:
        """Return the mixed images and targets of a part. The arguments must not be modified."""
        ...


def is_mix_kind(rule: object) -> TypeGuard[MixKind]:
    """Return whether a rule mixes images."""
    return hasattr(rule, "mix")


def mix_part(
    images: PartImages, targets: Fractions, rules: Sequence[Augment], draws: Draws, ids: Int64[np.ndarray, "N"]
) -> MixedPart:
    """Return the images and targets of a part, mixed by one of the rules that mix images.

    If there are several such rules, each is equally likely, as in the training scripts of timm and torchvision.
    """
    mixers = [(rule, scoped) for rule, scoped in scope_draws(rules, draws) if is_mix_kind(rule)]
    if not mixers or not len(ids):
        return images, targets
    rule, scoped = mixers[int(len(mixers) * draws.uniform(ids[:1], "mixing")[0])]
    return rule.mix(images, targets, scoped, ids)


def partners(draws: Draws, ids: Int64[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
    """Return the position of each image's partner, which is another image of the part.

    The images are put into a random order. The partner of an image is the next one, and that of the last is the first.
    """
    order = np.argsort(draws.bits(ids, "partner"), kind="stable")
    found = np.empty(len(ids), np.int64)
    found[order] = np.roll(order, -1)
    return found


def kept_shares(
    draws: Draws, ids: Int64[np.ndarray, "N"], alpha: float, probability: float
) -> Float64[np.ndarray, "N"]:
    """Return the share that each image keeps of itself: drawn from Beta(alpha, alpha), or 1 if it is not mixed."""
    first, second, chance = (draws.uniform(ids, stream) for stream in ("first", "second", "chance"))
    drawn = [symmetric_beta(alpha, u, v) for u, v in zip(first.tolist(), second.tolist(), strict=True)]
    return np.where(chance < probability, np.array(drawn, np.float64), 1.0)


def symmetric_beta(alpha: float, u: float, v: float) -> float:
    """Return a number distributed as Beta(alpha, alpha), computed from two uniform numbers in [0, 1).

    The method is exact for every alpha above 0, except for rounding, and rejects no numbers. The number
    T = sqrt(2a (U^(-1/a) - 1)) cos(2 pi V) has Student's t-distribution with 2a degrees of freedom (Bailey, Mathematics
    of Computation 62, 1994), and (1 + T / sqrt(2a + T^2)) / 2 has the distribution Beta(a, a) (Devroye, "Random variate
    generation in one line of code", WSC 1996). Here the numerator and the
    denominator are multiplied by U^(1/a), so nothing overflows.
    """
    # Numbers are computed one at a time, because NumPy's results for an array may differ in the last bit from those for
    # single numbers.
    power, cosine = (1 - u) ** (1 / alpha), math.cos(2 * math.pi * v)
    rest = 1 - power
    return (1 + cosine * math.sqrt(rest / (power + rest * cosine**2))) / 2


def mix_targets(targets: Fractions, partner: Int64[np.ndarray, "N"], kept: Float64[np.ndarray, "N"]) -> Fractions:
    """Return the targets of the images, mixed with those of their partners. `kept` is the share of the image itself."""
    share = kept[:, None]
    return (share * targets + (1 - share) * targets[partner]).astype(np.float32)
