"""Extractors of patches on a regular grid.

All scales have the same centres: those of the smallest patches that fit into the image, equally spaced, with equal
margins. Larger patches may extend beyond the image.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image as Picture

from imclass.core.bounds import AtLeast, AtMost
from imclass.core.contracts import Image
from imclass.core.errors import UserError
from imclass.pipelines.dense.pooling import BINS, Axis, place_patches
from imclass.pipelines.descriptors import Descriptors, join_descriptors
from imclass.pipelines.part import PatchExtractor


class GridExtractor(PatchExtractor):
    """An extractor of square patches.

    The image is first reduced according to `max_side`. A scale whose patches do not fit into it is left out. If a side
    is shorter than the smallest patch, that side is enlarged to it, so that each image has at least one descriptor.
    """

    max_side: int  # larger images are reduced so that their longer side is this; 0: never

    @property
    @abstractmethod
    def width(self) -> int:
        """Return the number of values in a descriptor."""

    @property
    @abstractmethod
    def sides(self) -> list[int]:
        """Return the sides of the patches at each scale in pixels, in ascending order."""

    @property
    @abstractmethod
    def spacing(self) -> int:
        """Return the distance between neighbouring centres in pixels."""

    @abstractmethod
    def describe(
        self, image: UInt8[np.ndarray, "H W C"], sides: Sequence[int], rows: Axis, columns: Axis
    ) -> Float32[np.ndarray, "D d"]:
        """Return the descriptors of one image, which has 1 or 3 channels, by scale, row and column.

        `rows` and `columns` are the centres of the smallest patches. If the sides are odd, these are half a pixel
        further to the right and to the bottom.
        """

    def transform(self, x: Sequence[Image]) -> Descriptors:
        """Return the descriptors of each image, by scale, row and column. Raise `UserError` for 2 or 4 channels."""
        if not len(x):
            empty = np.zeros((0, 2))
            return Descriptors(
                values=np.zeros((0, self.width), np.float32),
                positions=empty.astype(np.float32),
                scales=np.zeros(0, np.float32),
                image=np.zeros(0, np.int64),
                sizes=empty.astype(np.int64),
            )
        return join_descriptors([self.of_image(image) for image in x])

    def of_image(self, image: Image) -> Descriptors:
        """Return the descriptors of one image. Positions and scales are in pixels of the image before resizing."""
        check_channels(image, self.kind)
        smallest = self.sides[0]
        resized = resize_image(image, self.max_side, smallest)
        height, width = resized.shape[:2]
        sides = [side for side in self.sides if side <= min(height, width)]
        rows, columns = (place_patches(length, smallest, self.spacing) for length in (height, width))
        values = self.describe(resized, sides, rows, columns)
        across, down = image.shape[1] / width, image.shape[0] / height  # pixels of the image in one of `resized`
        half = smallest % 2 / 2
        y, x = np.meshgrid((rows.centres() + half) * down, (columns.centres() + half) * across, indexing="ij")
        patches = np.repeat(np.array(sides) * np.sqrt(across * down), x.size)
        return Descriptors(
            values=values,
            positions=np.tile(np.stack([x.ravel(), y.ravel()], 1), (len(sides), 1)).astype(np.float32),
            scales=patches.astype(np.float32),
            image=np.zeros(len(values), np.int64),
            sizes=np.array([image.shape[:2]], np.int64),
        )


@dataclass
class DenseExtractor(GridExtractor):
    """An extractor of square patches of 4 x 4 bins, whose sides grow by a factor of sqrt(2) from scale to scale."""

    step: Annotated[int, AtLeast(1)] = 8  # pixels between neighbouring centres, at each scale
    bin: Annotated[int, AtLeast(2), AtMost(64)] = 4  # side of the smallest bins in pixels; patches have 4 x 4 bins
    scales: Annotated[int, AtLeast(1), AtMost(10)] = 5  # bins are sqrt(2) times larger from scale to scale
    max_side: Annotated[int, AtLeast(0)] = 500  # larger images are reduced so that their longer side is this; 0: never

    @property
    def sides(self) -> list[int]:
        return [BINS * side for side in self.bins()]

    @property
    def spacing(self) -> int:
        return self.step

    def bins(self) -> list[int]:
        """Return the sides of the bins at each scale in pixels: 4, 6, 8, 11 and 16 for the defaults."""
        return [round(self.bin * 2 ** (i / 2)) for i in range(self.scales)]


def check_channels(image: Image, kind: str) -> None:
    """Raise `UserError` unless an image has 1 or 3 channels. `kind` is the part that takes it."""
    if image.shape[2] not in (1, 3):
        problem = f"the part {kind} takes images with 1 or 3 channels, and this one has {image.shape[2]}"
        raise UserError(f"{problem}; convert the image to RGB or greyscale")


def resize_image(image: UInt8[np.ndarray, "H W C"], longest: int, shortest: int) -> UInt8[np.ndarray, "h w C"]:
    """Return the image with a longer side of at most `longest` pixels, unless it is 0.

    A side that is then shorter than `shortest` pixels is enlarged to it, without regard to the other. Pillow's
    antialiased bilinear filter resizes.
    """
    height, width = image.shape[:2]
    ratio = longest / max(height, width)
    sides = [round(side * ratio) for side in (height, width)] if 0 < ratio < 1 else [height, width]
    new_height, new_width = (max(side, shortest) for side in sides)
    if (new_height, new_width) == (height, width):
        return image
    picture = Picture.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    resized = np.asarray(picture.resize((new_width, new_height), Picture.Resampling.BILINEAR))
    return resized.reshape(new_height, new_width, image.shape[2])
