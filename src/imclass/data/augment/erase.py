"""Random rectangles of noise."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import UInt8

from imclass.core.bounds import Above, AtLeast, AtMost
from imclass.core.config import Augment, Pair
from imclass.core.errors import require
from imclass.core.randomness import GOLDEN_GAMMA, Draws, mix
from imclass.data.augment.window import PixelArray

MAX_TRIES = 10  # random rectangles to try before the view is left unchanged


@dataclass(frozen=True)
class Erase(Augment):
    """A rectangle of random pixels in place of a part of the view (Zhong et al., AAAI 2020, algorithm 1).

    The rectangle's area, aspect ratio and position are drawn uniformly. As in the authors' code, the position is chosen
    so that a rectangle smaller than the view fits. If a rectangle is too high or too wide, another is drawn.
    """

    kind: ClassVar[str] = "erase"
    probability: Annotated[float, AtLeast(0), AtMost(1)] = 0.5
    area: Annotated[Pair, Above(0), AtMost(1)] = (0.02, 0.4)  # lowest and highest fraction of the view's area
    aspect: Annotated[Pair, Above(0)] = (0.3, 1 / 0.3)  # lowest and highest ratio of the height to the width

    def check_together(self, at: str) -> None:
        """Raise `UserError` if the first value of a range is greater than the second."""
        for name in ("area", "aspect"):
            low, high = getattr(self, name)
            require(low <= high, f"{at}{name}", f"{low} {high}", "a low and a high value, low <= high")

    def colour(self, view: PixelArray, draws: Draws, id: int) -> PixelArray:
        """Return the view. With the given probability, a rectangle of it is replaced by random pixels."""
        if draws.uniform(np.array([id]), "erase").item() < self.probability:
            top, left, height, width = self.rectangle(view.shape[0], view.shape[1], draws, id)
            part = view[top : top + height, left : left + width]
            part[:] = noise(part.size, draws, id).reshape(part.shape)
        return view

    def rectangle(self, height: int, width: int, draws: Draws, id: int) -> tuple[int, int, int, int]:
        """Return the top, left, height and width of a random rectangle, or zeros if none of 10 rectangles fits."""
        ids = np.array([id])
        for trial in range(MAX_TRIES):
            area, aspect, y, x = (draws.uniform(ids, stream, trial).item() for stream in ("area", "aspect", "y", "x"))
            pixels = height * width * (self.area[0] + area * (self.area[1] - self.area[0]))
            ratio = self.aspect[0] + aspect * (self.aspect[1] - self.aspect[0])
            h, w = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if h <= height and w <= width:
                return int(y * (height - h + 1)), int(x * (width - w + 1)), h, w
        return 0, 0, 0, 0


def noise(count: int, draws: Draws, id: int) -> UInt8[np.ndarray, "_"]:
    """Return random bytes, uniform from 0 to 255: the output of SplitMix64 from a seed drawn for the image."""
    steps = np.arange(1, count // 8 + 2, dtype=np.uint64)
    return mix(draws.bits(np.array([id]), "pixels") + GOLDEN_GAMMA * steps).view(np.uint8)[:count]


AUGMENTS = {"erase": Erase}
