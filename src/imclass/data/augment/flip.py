"""Random horizontal flips."""
# Tested in tests/data/augment/test_window.py

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Int64

from imclass.core.bounds import AtLeast, AtMost
from imclass.core.config import Augment
from imclass.core.randomness import Draws
from imclass.data.augment.window import Windows


@dataclass(frozen=True)
class Flip(Augment):
    """A horizontal flip of each image with the given probability."""

    kind: ClassVar[str] = "flip"
    probability: Annotated[float, AtLeast(0), AtMost(1)] = 0.5

    def windows(
        self, before: Windows, sizes: Int64[np.ndarray, "N 2"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> Windows:
        """Return the windows after flipping a random selection of them."""
        return before.mirror(draws.uniform(ids, "mirror") < self.probability)


AUGMENTS = {"flip": Flip}
