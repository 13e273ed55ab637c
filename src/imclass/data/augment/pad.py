"""Random crops of padded images."""
# Tested in tests/data/augment/test_window.py

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Int64

from imclass.core.bounds import AtLeast
from imclass.core.config import Augment
from imclass.core.randomness import Draws
from imclass.data.augment.window import Windows


@dataclass(frozen=True)
class Pad(Augment):
    """A random crop of the original size, after padding with the mean colour (He et al. 2015, section 4.2)."""

    kind: ClassVar[str] = "pad"
    pixels: Annotated[int, AtLeast(0)] = 4  # pixels of padding on each side

    def windows(
        self, before: Windows, sizes: Int64[np.ndarray, "N 2"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> Windows:
        """Return the windows after moving them at random by up to `pixels` pixels horizontally and vertically."""
        span = 2 * self.pixels + 1
        top, left = ((draws.uniform(ids, stream) * span).astype(np.int64) for stream in ("top", "left"))
        return before.move(top - self.pixels, left - self.pixels)


AUGMENTS = {"pad": Pad}
