"""All descriptors of an image as one row."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from imclass.core.errors import UserError
from imclass.core.targets import Targets
from imclass.pipelines.descriptors import ONE_CELL, Descriptors
from imclass.pipelines.encoding import check_numbers
from imclass.pipelines.part import Encoder


@dataclass
class Flatten(Encoder):
    """The descriptors of an image, joined in order, instead of a codebook's statistics of them.

    All images must have the size of the training images, so that each number describes the same place.
    """

    kind: ClassVar[str] = "flatten"
    learned: ClassVar[tuple[str, ...]] = ("size_",)  # height and width of the training images

    def fit(self, x: Descriptors, targets: Targets, classes: int) -> "Flatten":
        """Learn the size of the images. Raise `UserError` if they differ in size."""
        sizes = np.unique(x.sizes, axis=0)
        if len(sizes) != 1:
            few = ", ".join(f"{height} x {width}" for height, width in sizes[:3].tolist())
            raise UserError(
                f"the part flatten needs images of one size, but they have {len(sizes):,} sizes (height x width), such "
                f"as {few}; {ADVICE}"
            )
        self.size_ = sizes[0]
        return self

    def transform(self, x: Descriptors) -> Float32[np.ndarray, "N E"]:
        """Return a row for each image: its first descriptor, then its second, and so on.

        Raise `UserError` if an image has another size than the training images, if there is a spatial pyramid, or if a
        descriptor contains NaN or an infinity.
        """
        height, width = self.arrays()["size_"].tolist()
        if x.grids != ONE_CELL:
            raise UserError("the part flatten does not use cells of a pyramid; leave the part pyramid out")
        others = x.sizes[(x.sizes != (height, width)).any(1)]
        if len(others):
            raise UserError(
                f"the part flatten was fitted to images of {height} x {width} pixels (height x width), but an image "
                f"has {others[0, 0]} x {others[0, 1]}; {ADVICE}"
            )
        check_numbers(x, self.kind)
        return x.values.reshape(x.images, -1) if x.images else np.zeros((0, 0), np.float32)


ADVICE = "put the part resize first, with a height and a width (--parts.resize.height and --parts.resize.width)"

PARTS = {"flatten": Flatten}
