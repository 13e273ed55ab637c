"""Random crops of many sizes and shapes."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Int64

from imclass.core.bounds import Above, AtMost
from imclass.core.config import Augment, Pair
from imclass.core.errors import require
from imclass.core.preprocess import Box
from imclass.core.randomness import Draws
from imclass.data.augment.window import Windows

MAX_TRIES = 10  # random crops to try before the centre is used


@dataclass(frozen=True)
class Area(Augment):
    """A crop of the source image with a random area, aspect ratio and position (Szegedy et al. 2014, section 6).

    The fraction of the area to keep is drawn uniformly. The logarithm of the aspect ratio is also drawn uniformly, so
    that a ratio and its inverse are equally likely.
    """

    kind: ClassVar[str] = "area"
    area: Annotated[Pair, Above(0), AtMost(1)] = (0.08, 1.0)  # lowest and highest fraction of the image's area
    aspect: Annotated[Pair, Above(0)] = (3 / 4, 4 / 3)  # lowest and highest ratio of the crop's width to its height

    def check_together(self, at: str) -> None:
        """Raise `UserError` if the first value of a range is greater than the second."""
        for name in ("area", "aspect"):
            low, high = getattr(self, name)
            require(low <= high, f"{at}{name}", f"{low} {high}", "a low and a high value, low <= high")

    def windows(
        self, before: Windows, sizes: Int64[np.ndarray, "N 2"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> Windows:
        """Return the windows after cropping each box at random."""
        # Images are cropped one at a time, because NumPy's logarithm of an array may differ in the last bit from the
        # logarithm of a single number.
        boxes = [self.crop(box, draws, ids[i : i + 1]) for i, box in enumerate(before.source_boxes(sizes).tolist())]
        return replace(before, boxes=np.array(boxes, np.float64).reshape(-1, 4))

    def crop(self, box: Box | list[float], draws: Draws, id: Int64[np.ndarray, "1"]) -> Box:
        """Return a random box inside `box`.

        If the drawn box does not fit, another one is drawn. After 10 tries, the largest centred box with an allowed
        aspect ratio is returned.
        """
        width, height = box[2] - box[0], box[3] - box[1]
        for trial in range(MAX_TRIES):
            area, aspect, x, y = (draws.uniform(id, stream, trial).item() for stream in ("area", "aspect", "x", "y"))
            share = self.area[0] + area * (self.area[1] - self.area[0])
            low, high = (math.log(ratio) for ratio in self.aspect)
            ratio = math.exp(low + aspect * (high - low))
            w, h = (math.sqrt(share * height * width * r) for r in (ratio, 1 / ratio))
            if w <= width and h <= height:
                return box_within(box, x, y, w, h)
        ratio = min(max(width / height, self.aspect[0]), self.aspect[1])
        return box_within(box, 0.5, 0.5, min(width, height * ratio), min(height, width / ratio))


def box_within(outer: Box | list[float], x: float, y: float, width: float, height: float) -> Box:
    """Return a box of the given size inside `outer`.

    The fraction `x` of the spare width lies to the left of the box, and the fraction `y` of the spare height lies above
    the box.
    """
    left = outer[0] + x * (outer[2] - outer[0] - width)
    top = outer[1] + y * (outer[3] - outer[1] - height)
    # Rounding may move the box past the image's edge, and Pillow would refuse it.
    return left, top, min(left + width, outer[2]), min(top + height, outer[3])


AUGMENTS = {"area": Area}
