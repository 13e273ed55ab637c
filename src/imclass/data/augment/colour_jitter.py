"""Random changes of an image's brightness, contrast and saturation."""

from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, ClassVar

import numpy as np
from PIL import ImageEnhance

from imclass.core.bounds import AtLeast, AtMost
from imclass.core.config import Augment
from imclass.core.randomness import Draws
from imclass.data.augment.colour import picture_of, view_of
from imclass.data.augment.window import PixelArray

ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


@dataclass(frozen=True)
class ColourJitter(Augment):
    """Random changes of brightness, contrast and saturation, in random order (fb.resnet.torch, `ColorJitter`).

    Each change multiplies the difference between the image and another one by a factor. The other image is black for
    brightness, the mean grey level of the image for contrast, and the image in grey for saturation. A factor is drawn
    uniformly between 1 - x and 1 + x, where x is the value of the field. Pillow clips the result to the range from 0 to
    255 after each change.
    """

    kind: ClassVar[str] = "colour-jitter"
    brightness: Annotated[float, AtLeast(0), AtMost(1)] = 0.4  # largest change of the factor for brightness; 0: none
    contrast: Annotated[float, AtLeast(0), AtMost(1)] = 0.4  # largest change of the factor for contrast
    saturation: Annotated[float, AtLeast(0), AtMost(1)] = 0.4  # largest change of the factor for saturation

    def colour(self, view: PixelArray, draws: Draws, id: int) -> PixelArray:
        """Return the view after the three changes."""
        ids, orders = np.array([id]), [*permutations(ENHANCERS)]
        picture = picture_of(view)
        for name in orders[int(draws.uniform(ids, "order").item() * len(orders))]:
            factor = 1 + getattr(self, name) * (2 * draws.uniform(ids, name).item() - 1)
            picture = ENHANCERS[name](picture).enhance(factor)
        return view_of(picture)


AUGMENTS = {"colour-jitter": ColourJitter}
