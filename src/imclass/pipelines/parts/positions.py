"""Positions of patches as additional numbers in their descriptors.

A codebook then depends on where in the image a patch lies, at a small fraction of the cost of a spatial pyramid
(J. Sanchez, F. Perronnin, T. de Campos, "Modeling the spatial layout of images beyond spatial pyramids", Pattern
Recognition Letters 2012).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from imclass.core.bounds import Above
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.part import DescriptorFeature


@dataclass
class Positions(DescriptorFeature):
    """The fractions of the image's width and height at which a patch is centred, minus 0.5, appended to descriptors."""

    kind: ClassVar[str] = "positions"
    weight: Annotated[float, Above(0)] = 1.0  # factor for both; it matters to words and vlad, and not to fisher

    def transform(self, x: Descriptors) -> Descriptors:
        """Return descriptors with two more numbers: x, then y."""
        places = np.float32(self.weight) * (x.relative_positions() - np.float32(0.5))
        return x.with_values(np.concatenate([x.values, places], 1))


PARTS = {"positions": Positions}
