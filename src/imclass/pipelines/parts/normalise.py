"""Normalisation of rows."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float, Float32

from imclass.core.bounds import Above, AtMost
from imclass.pipelines.encoding import signed_power, unit_length
from imclass.pipelines.part import Feature, Flow


@dataclass
class Normalise(Feature):
    """A signed power of each number, then division of each row by its Euclidean length. Rows of zeros remain zeros."""

    kind: ClassVar[str] = "normalise"
    takes: ClassVar[tuple[Flow, ...]] = ("rows",)
    power: Annotated[float, Above(0), AtMost(1)] = 1.0  # v becomes sign(v) |v|^power; 1 changes nothing
    length: bool = True  # divide each row by its Euclidean length

    def transform(self, x: Float[np.ndarray, "N E"]) -> Float32[np.ndarray, "N E"]:
        """Return the normalised rows."""
        rows = signed_power(x.astype(np.float32), self.power)
        return unit_length(rows) if self.length else rows


PARTS = {"normalise": Normalise}
