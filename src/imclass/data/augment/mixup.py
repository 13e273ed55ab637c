"""Blending of pairs of images."""
# Tested in tests/data/augment/test_mixing.py

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Int64

from imclass.core.bounds import Above, AtLeast, AtMost
from imclass.core.config import Augment
from imclass.core.randomness import Draws
from imclass.data.augment.mixing import Fractions, MixedPart, PartImages, kept_shares, mix_targets, partners


@dataclass(frozen=True)
class Mixup(Augment):
    """A blend of each image with another one, x = l x_i + (1 - l) x_j, and of their targets in the same proportion.

    l is drawn from Beta(alpha, alpha) for each image (Zhang et al., ICLR 2018, equation 1 and figure 1).
    """

    kind: ClassVar[str] = "mixup"
    alpha: Annotated[float, Above(0)] = 0.2  # 0.1 to 0.4 in the paper for ImageNet, 1 for CIFAR
    probability: Annotated[float, AtLeast(0), AtMost(1)] = 1.0  # that an image is mixed

    def mix(self, images: PartImages, targets: Fractions, draws: Draws, ids: Int64[np.ndarray, "N"]) -> MixedPart:
        """Return the blended images, as float32 in [0, 1], and their targets."""
        partner, kept = partners(draws, ids), kept_shares(draws, ids, self.alpha, self.probability)
        before = images / np.float32(255) if images.dtype == np.uint8 else images
        blended = before.copy()
        for i in np.flatnonzero(kept < 1):  # one image at a time, so that products stay in the processor's cache
            blended[i] *= np.float32(kept[i])
            blended[i] += np.float32(1 - kept[i]) * before[partner[i]]
        return blended, mix_targets(targets, partner, kept)


AUGMENTS = {"mixup": Mixup}
