"""The preprocessing of an image for a network: one frozen value, stored in model files and used by all commands."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from imclass.core.bounds import AtLeast, check_bounds
from imclass.core.errors import UserError

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right and bottom in fractional pixels

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess:
    """The colour mode, resize rule, crop and channel order. Mean and std are stored as buffers of the network.

    `resize` is "shorter" (scale the shorter side to `scale`, the papers' Q, and keep the aspect ratio), "squash"
    (resize the whole image to size x size) or "none". A centre crop of size x size pixels follows.
    """

    size: Annotated[int, AtLeast(1)] = 224
    colour: Literal["rgb", "grey"] = "rgb"
    resize: Literal["shorter", "squash", "none"] = "shorter"
    scale: Annotated[int, AtLeast(1)] = 256
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    channels: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        check_bounds(self, "preprocess.")

    def check_together(self, at: str) -> None:
        """Raise `UserError` if the crop is larger than the resized image."""
        if self.resize == "shorter" and self.scale < self.size:
            raise UserError(
                f"{at}scale {self.scale} is below {at}size {self.size}: the crop would not fit; "
                f"raise --{at}scale to at least {self.size}, or set --{at}resize squash"
            )

    @property
    def w_in(self) -> int:
        """Return the number of channels in the network's input."""
        return 1 if self.colour == "grey" else 3

    def __call__(self, image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "h w c"]:
        """Preprocess one image for the network, with channels on the last axis."""
        return self.crop(self.apply_resize(self.convert_colour(self.limit_aspect(image))))

    def limit_aspect(self, image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "h w C"]:
        """Return an image with its longer side cropped around the centre to at most 16 times the shorter side.

        This applies only to resizing by the shorter side, which would otherwise need unbounded memory. The later
        centre crop lies well within the remaining part.
        """
        limit = 16 * min(image.shape[:2])
        if self.resize != "shorter" or max(image.shape[:2]) <= limit:
            return image
        top, left = (max(0, side - limit) // 2 for side in image.shape[:2])
        return image[top : top + limit, left : left + limit]

    def convert_colour(self, image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W c"]:
        """Return the image in greyscale (luma of ITU-R BT.601), or with three channels in the network's order."""
        if self.colour == "grey":
            return image if image.shape[2] == 1 else np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
        image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
        return image if self.channels == "rgb" else np.ascontiguousarray(image[:, :, ::-1])

    def apply_resize(self, image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "h w C"]:
        """Return the image resized according to `resize`, before the crop.

        Pillow antialiases images that it shrinks.
        """
        height, width = image.shape[:2]
        if self.resize == "squash":
            return self.resize_to(image, self.size, self.size)
        if self.resize == "shorter":
            shorter = min(height, width)
            return self.resize_to(
                image, *(max(1, (side * self.scale + shorter // 2) // shorter) for side in (height, width))
            )
        return image

    def resize_to(
        self, image: UInt8[np.ndarray, "H W C"], height: int, width: int, box: Box | None = None
    ) -> UInt8[np.ndarray, "h w C"]:
        """Return `image`, or only the part inside `box`, resized to exactly this height and width in pixels."""
        if image.shape[:2] == (height, width) and box is None:
            return image
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        resized = np.asarray(picture.resize((width, height), FILTERS[self.interpolation], box))
        return resized.reshape(height, width, image.shape[2])

    def crop(self, image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "h w C"]:
        """Return the central size x size pixels. For a smaller image, raise a `UserError` that states both sizes."""
        height, width = image.shape[:2]
        if height < self.size or width < self.size:
            raise UserError(
                f"an image of {height} x {width} pixels is smaller than the network's {self.size} x {self.size}; "
                "use --protocol resize, or a resize rule other than 'none'"
            )
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return image[top : top + self.size, left : left + self.size]
