"""Random crops of isotropically rescaled images."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Int64

from imclass.core.bounds import AtLeast, AtMost
from imclass.core.config import Augment, Pair, multiply_count
from imclass.core.errors import UserError, require
from imclass.core.randomness import Draws
from imclass.data.augment.window import Windows


@dataclass(frozen=True)
class Crop(Augment):
    """A crop at a random position, after the image is rescaled so that its shorter side has S pixels.

    The view has the network's input size, and the image keeps its aspect ratio. S is fixed, or drawn for each image
    from a range (Simonyan and Zisserman, ICLR 2015, section 3.1). With `square`, crops are taken from the central
    S x S pixels (Krizhevsky et al., NIPS 2012, sections 2 and 4.1).

    The image is not rescaled as a whole: the crop is a box of the source image, resized once. It begins at a whole
    pixel of the rescaled image. A central square has S - size offsets along each side, because that paper counts
    (256 - 224)^2 = 1,024 crops, or 2,048 with flips. Other sides have all offsets at which the crop fits.
    """

    kind: ClassVar[str] = "crop"
    shorter: Annotated[Pair, AtLeast(1), AtMost(10_000)] = (256.0, 256.0)  # lowest and highest S, in pixels
    square: bool = False  # crop only from the central S x S pixels, as AlexNet's paper does

    def check_together(self, at: str) -> None:
        """Raise `UserError` if the range contains fractions, or if its first value is greater than its second."""
        low, high = self.shorter
        wanted = "a low and a high value in whole pixels, low <= high"
        require(low <= high and low % 1 == high % 1 == 0, f"{at}shorter", f"{low:g} {high:g}", wanted)

    def check_size(self, size: int, at: str) -> None:
        """Raise `UserError` if the lowest S is below the size of the views."""
        low, high = self.shorter
        if low < size:
            raise UserError(
                f"--{at}shorter {low:g} {high:g} begins below --preprocess.size {size}: the crop would not fit; "
                f"use --{at}shorter {size} {max(size, high):g} or more"
            )

    @property
    def scales(self) -> tuple[int, ...]:
        """Return S, or the ends of its range, in pixels."""
        return tuple(dict.fromkeys(map(int, self.shorter)))

    def with_lengths(self, ratio: float) -> "Crop":
        """Return a crop from images whose shorter side is `ratio` times as long, rounded to whole pixels."""
        low, high = (float(multiply_count(int(side), ratio)) for side in self.shorter)
        return replace(self, shorter=(low, high))

    def windows(
        self, before: Windows, sizes: Int64[np.ndarray, "N 2"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> Windows:
        """Return the windows after cropping each box at random."""
        boxes = before.source_boxes(sizes)
        start, extent = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]  # of x and y
        side = extent.min(axis=1, keepdims=True)
        low, high = self.shorter
        shorter = low + np.floor(draws.uniform(ids, "shorter") * (high - low + 1))[:, None]
        if self.square:
            start, extent = start + (extent - side) / 2, side
        offsets = np.floor(extent * shorter / side) - before.size + (0 if self.square else 1)
        offsets = np.maximum(offsets, 0)  # rounding may make a central square smaller than the view
        drawn = np.stack([draws.uniform(ids, stream) for stream in ("left", "top")], axis=1)
        first = np.floor(drawn * offsets)
        low_edge, high_edge = (start + at * side / shorter for at in (first, first + before.size))
        # Rounding may move the box past the image's edge, and Pillow would refuse it.
        return replace(before, boxes=np.concatenate([low_edge, np.minimum(high_edge, boxes[:, 2:])], axis=1))


AUGMENTS = {"crop": Crop}
