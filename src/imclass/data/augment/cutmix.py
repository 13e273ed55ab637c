"""Pasting of rectangles from one image into another."""
# Tested in tests/data/augment/test_mixing.py

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Int64

from imclass.core.bounds import Above, AtLeast, AtMost
from imclass.core.config import Augment
from imclass.core.randomness import Draws
from imclass.data.augment.mixing import Fractions, MixedPart, PartImages, kept_shares, mix_targets, partners


@dataclass(frozen=True)
class CutMix(Augment):
    """A rectangle of each image replaced by the same rectangle of another one (Yun et al., ICCV 2019, equations 1, 2).

    The rectangle has the image's shape and a fraction 1 - l of its area, with l drawn from Beta(alpha, alpha) for each
    image. Its centre is drawn uniformly, and what lies outside the image is cut off. Targets are mixed in proportion to
    the area that is replaced in the end.
    """

    kind: ClassVar[str] = "cutmix"
    alpha: Annotated[float, Above(0)] = 1.0  # 1 in the paper: the area is drawn uniformly
    probability: Annotated[float, AtLeast(0), AtMost(1)] = 1.0  # that an image is mixed; 0.5 in the paper for CIFAR

    def mix(self, images: PartImages, targets: Fractions, draws: Draws, ids: Int64[np.ndarray, "N"]) -> MixedPart:
        """Return the images with their new rectangles, and their targets."""
        partner, drawn = partners(draws, ids), kept_shares(draws, ids, self.alpha, self.probability)
        x, y = (draws.uniform(ids, stream) for stream in ("x", "y"))
        height, width = images.shape[2:]
        pasted, kept = images.copy(), np.ones(len(ids))
        for i, share in enumerate(drawn.tolist()):
            side = math.sqrt(1 - share)
            left, right = span(x[i] * width, side * width, width)
            top, bottom = span(y[i] * height, side * height, height)
            pasted[i, :, top:bottom, left:right] = images[partner[i], :, top:bottom, left:right]
            kept[i] = 1 - (bottom - top) * (right - left) / (height * width)
        return pasted, mix_targets(targets, partner, kept)


def span(centre: float, length: float, limit: int) -> tuple[int, int]:
    """Return the first pixel of an interval inside [0, `limit`], and the first pixel after it."""
    return round(max(centre - length / 2, 0)), round(min(centre + length / 2, limit))


AUGMENTS = {"cutmix": CutMix}
