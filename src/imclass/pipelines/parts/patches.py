"""Raw patches: the pixels of small squares on a dense grid, each normalised for brightness and contrast.

A. Coates, A. Ng, H. Lee, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011,
section 3.1. With the mean m and the variance v of the numbers x of a patch, from 0 to 255, a descriptor is

    (1)  (x - m) / sqrt(v + contrast).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from imclass.core.bounds import Above, AtLeast, AtMost
from imclass.core.contracts import Image
from imclass.core.errors import UserError
from imclass.pipelines.dense.grid import resize_image
from imclass.pipelines.descriptors import Descriptors, join_descriptors
from imclass.pipelines.part import PatchExtractor
from imclass.pipelines.parts.dense_sift import split_channels


@dataclass
class Patches(PatchExtractor):
    """The pixels of all patches that lie in an image, by row and column of patches.

    A descriptor contains its pixels by row, column and channel. If a side of an image is shorter than a patch, that
    side is enlarged to it. A patch of one colour has a descriptor of zeros, if its channels are equal.
    """

    kind: ClassVar[str] = "patches"
    side: Annotated[int, AtLeast(2), AtMost(64)] = 6  # of a patch in pixels
    step: Annotated[int, AtLeast(1)] = 1  # pixels between neighbouring patches
    colour: Literal["grey", "rgb"] = "rgb"  # rgb: a grey image has three equal channels
    contrast: Annotated[float, Above(0)] = 10.0  # added to a patch's variance, so that noise is not enlarged

    @property
    def channels(self) -> int:
        """Return the number of channels of a patch."""
        return 1 if self.colour == "grey" else 3

    def transform(self, x: Sequence[Image]) -> Descriptors:
        """Return the descriptors of each image. Raise `UserError` for 2 or 4 channels."""
        if not len(x):
            empty = np.zeros((0, 2))
            return Descriptors(
                values=np.zeros((0, self.channels * self.side**2), np.float32),
                positions=empty.astype(np.float32),
                scales=np.zeros(0, np.float32),
                image=np.zeros(0, np.int64),
                sizes=empty.astype(np.int64),
            )
        return join_descriptors([self.of_image(image) for image in x])

    def of_image(self, image: Image) -> Descriptors:
        """Return the descriptors of one image. Positions and scales are in pixels of the image before resizing."""
        if image.shape[2] not in (1, 3):
            problem = f"the part {self.kind} describes images with 1 or 3 channels, and this one has {image.shape[2]}"
            raise UserError(f"{problem}; convert the image to RGB or greyscale")
        resized = resize_image(image, 0, self.side)
        height, width = resized.shape[:2]
        rows, columns = (first_pixels(side, self.side, self.step) for side in (height, width))
        windows = cut_windows(self.pixels(resized), self.side, rows, columns)
        down, across = image.shape[0] / height, image.shape[1] / width  # pixels of the image in one of `resized`
        y, x = np.meshgrid((rows + self.side / 2) * down, (columns + self.side / 2) * across, indexing="ij")
        return Descriptors(
            values=normalise_contrast(windows, self.contrast).numpy(),
            positions=np.stack([x.ravel(), y.ravel()], 1).astype(np.float32),
            scales=np.full(x.size, self.side * np.sqrt(down * across), np.float32),
            image=np.zeros(x.size, np.int64),
            sizes=np.array([image.shape[:2]], np.int64),
        )

    def pixels(self, image: UInt8[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W c"]:
        """Return the pixels of the channels to describe, from 0 to 255."""
        if image.shape[2] == self.channels:
            return image.astype(np.float32)
        return torch.stack(split_channels(image, self.colour), 2).numpy()


def first_pixels(length: int, side: int, step: int) -> np.ndarray:
    """Return the first pixels of the patches along a side of `length` pixels. The margins are equal."""
    count = (length - side) // step + 1
    return (length - side - step * (count - 1)) // 2 + step * np.arange(count)


def cut_windows(
    pixels: Float32[np.ndarray, "H W c"], side: int, rows: np.ndarray, columns: np.ndarray
) -> Float32[Tensor, "D d"]:
    """Return a copy of the square windows of `side` pixels that begin at some rows and columns."""
    channels = pixels.shape[2]
    lines = np.ascontiguousarray(pixels).reshape(len(pixels), -1)  # a row of a window is then in one piece
    windows = np.lib.stride_tricks.sliding_window_view(lines, (side, side * channels))
    return torch.from_numpy(windows[np.ix_(rows, channels * columns)].reshape(-1, side * side * channels))


def normalise_contrast(windows: Float32[Tensor, "D d"], contrast: float) -> Float32[Tensor, "D d"]:
    """Normalise patches in place, and return them (1)."""
    windows -= windows.mean(1, keepdim=True)
    variances = torch.linalg.vector_norm(windows, dim=1, keepdim=True).square_().div_(windows.shape[1])
    return windows.div_(variances.add_(contrast).sqrt_())


PARTS = {"patches": Patches}
