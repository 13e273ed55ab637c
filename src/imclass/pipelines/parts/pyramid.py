"""Spatial pyramid: an encoder encodes the cells of several grids, and not only the whole image.

S. Lazebnik, C. Schmid, J. Ponce, "Beyond bags of features: spatial pyramid matching for recognizing natural scene
categories", CVPR 2006. The grids 1x1 and 3x1 are those of the PASCAL VOC 2007 winner (M. Marszalek et al.), without its
2x2.
"""

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import Descriptors, Grid
from imclass.pipelines.part import DescriptorFeature


@dataclass
class Pyramid(DescriptorFeature):
    """The grids whose cells the next encoder encodes. The part precedes the encoder and changes no descriptor."""

    kind: ClassVar[str] = "pyramid"
    grids: tuple[str, ...] = ("1x1", "3x1")  # ROWSxCOLUMNS of each grid

    def check_together(self, at: str) -> None:
        """Raise `UserError` for invalid grids."""
        read_grids(self.grids, f"--{at}grids")

    def transform(self, x: Descriptors) -> Descriptors:
        """Return the same descriptors with the grids. Raise `UserError` for invalid grids."""
        return replace(x, grids=read_grids(self.grids, "grids"))


def read_grids(texts: tuple[str, ...], key: str) -> tuple[Grid, ...]:
    """Return the rows and columns of grids such as "3x1". Raise `UserError` for other text, none, and repetitions."""
    found = [re.fullmatch(r"([1-9][0-9]?)x([1-9][0-9]?)", text) for text in texts]
    for text, match in zip(texts, found, strict=True):
        if match is None:
            raise UserError(f"{key} contains {text!r}; it must be ROWSxCOLUMNS, each from 1 to 99, such as 3x1")
    grids = tuple((int(match[1]), int(match[2])) for match in found if match)
    if not grids or len(set(grids)) < len(grids):
        problem = "is empty" if not grids else "contains a grid twice"
        raise UserError(f"{key} {problem}; list different grids, such as 1x1 3x1. Or leave the part out")
    return grids


PARTS = {"pyramid": Pyramid}
