"""One random operation of random strength for each image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from imclass.core.config import Augment
from imclass.core.randomness import Draws
from imclass.data.augment.colour import picture_of, view_of
from imclass.data.augment.window import PixelArray

STRONGEST = 30  # strengths are the whole numbers from 0 to 30
Picture: TypeAlias = Image.Image
Operation: TypeAlias = Callable[[Picture, int, int], Picture]  # a picture, its strength, and a sign, which is 1 or -1


def warp(picture: Picture, *, shear_x: float = 0.0, shear_y: float = 0.0, x: int = 0, y: int = 0) -> Picture:
    """Return the picture after a shear and a translation, without interpolation. Pixels from outside are black.

    The pixel at (u, v) is taken from (u + shear_x v + x, shear_y u + v + y).
    """
    return picture.transform(picture.size, Image.Transform.AFFINE, (1, shear_x, x, shear_y, 1, y))


def enhance(enhancer: type[Any]) -> Operation:
    """Return the operation of one of Pillow's enhancers. Its factor is 0.01 to 2, and 1 leaves a picture unchanged."""
    return lambda picture, strength, _: enhancer(picture).enhance(0.01 + 1.99 * strength / STRONGEST)


# The operations and strengths of "wide_standard" in the authors' code. As there, whole numbers are rounded down.
OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda picture, strength, sign: picture,
    "auto-contrast": lambda picture, strength, sign: ImageOps.autocontrast(picture),
    "equalise": lambda picture, strength, sign: ImageOps.equalize(picture),
    "rotate": lambda picture, strength, sign: picture.rotate(sign * (135 * strength // STRONGEST)),
    "solarise": lambda picture, strength, sign: ImageOps.solarize(picture, 256 - 256 * strength // STRONGEST),
    "colour": enhance(ImageEnhance.Color),
    "posterise": lambda picture, strength, sign: ImageOps.posterize(picture, 8 - 6 * strength // STRONGEST),
    "contrast": enhance(ImageEnhance.Contrast),
    "brightness": enhance(ImageEnhance.Brightness),
    "sharpness": enhance(ImageEnhance.Sharpness),
    "shear-x": lambda picture, strength, sign: warp(picture, shear_x=sign * 0.99 * strength / STRONGEST),
    "shear-y": lambda picture, strength, sign: warp(picture, shear_y=sign * 0.99 * strength / STRONGEST),
    "translate-x": lambda picture, strength, sign: warp(picture, x=sign * (32 * strength // STRONGEST)),
    "translate-y": lambda picture, strength, sign: warp(picture, y=sign * (32 * strength // STRONGEST)),
}


@dataclass(frozen=True)
class Trivial(Augment):
    """TrivialAugment with its wide range of strengths (Müller and Hutter, ICCV 2021).

    Each view is changed by one operation. The operation and its strength are drawn uniformly, and so is the direction
    of a rotation, shear or translation.
    """

    kind: ClassVar[str] = "trivial"

    def colour(self, view: PixelArray, draws: Draws, id: int) -> PixelArray:
        """Return the view after a random operation."""
        operation, strength, sign = (
            int(draws.uniform(np.array([id]), stream).item() * count)
            for stream, count in (("operation", len(OPERATIONS)), ("strength", STRONGEST + 1), ("sign", 2))
        )
        return view_of([*OPERATIONS.values()][operation](picture_of(view), strength, 1 - 2 * sign))


AUGMENTS = {"trivial": Trivial}
