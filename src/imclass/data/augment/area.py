"""Random parts of images, of many sizes and shapes."""

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

MAX_TRIES = 10  # random parts looked for before the centre is taken


@dataclass(frozen=True)
class Area(Augment):
    """A part of the source with a share of its area and a shape (GoogLeNet, Szegedy et al. 2014, section 6).

    The share is uniform, the ratio of width to height uniform in its logarithm, so that a ratio and its inverse are
    equally likely.
    """

    kind: ClassVar[str] = "area"
    area: Annotated[Pair, Above(0), AtMost(1)] = (0.08, 1.0)  # share of the image's, low and high
    aspect: Annotated[Pair, Above(0)] = (3 / 4, 4 / 3)  # the part's width to height, low and high

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a range whose high value is below its low one."""
        for name in ("area", "aspect"):
            low, high = getattr(self, name)
            require(low <= high, f"{at}{name}", f"{low} {high}", "a low and a high value, low <= high")

    def windows(
        self, before: Windows, sizes: Int64[np.ndarray, "N 2"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> Windows:
        """Return the windows, each showing a part of what it showed of its source."""
        # One image at a time: the logarithms of a vector may differ from those of a number in the last bit.
        whole = before.parts(sizes).tolist()
        boxes = [self.part(box, draws, ids[i : i + 1]) for i, box in enumerate(whole)]
        return replace(before, boxes=np.array(boxes, np.float64).reshape(-1, 4))

    def part(self, whole: Box | list[float], draws: Draws, id: Int64[np.ndarray, "1"]) -> Box:
        """Return a random part of a box.

        One that does not fit is drawn again; after 10 tries it is the largest centred part of an allowed ratio.
        """
        width, height = whole[2] - whole[0], whole[3] - whole[1]
        for trial in range(MAX_TRIES):
            area, aspect, x, y = (draws.uniform(id, stream, trial).item() for stream in ("area", "aspect", "x", "y"))
            share = self.area[0] + area * (self.area[1] - self.area[0])
            low, high = (math.log(ratio) for ratio in self.aspect)
            ratio = math.exp(low + aspect * (high - low))
            w, h = (math.sqrt(share * height * width * r) for r in (ratio, 1 / ratio))
            if w <= width and h <= height:
                return box_within(whole, x, y, w, h)
        ratio = min(max(width / height, self.aspect[0]), self.aspect[1])
        return box_within(whole, 0.5, 0.5, min(width, height * ratio), min(height, width / ratio))


def box_within(whole: Box | list[float], x: float, y: float, width: float, height: float) -> Box:
    """Return a box of this size, with the share `x` of the spare width to its left and `y` of the height above."""
    left = whole[0] + x * (whole[2] - whole[0] - width)
    top = whole[1] + y * (whole[3] - whole[1] - height)
    # Pillow refuses a box that rounding has moved past the image's edge.
    return left, top, min(left + width, whole[2]), min(top + height, whole[3])


AUGMENTS = {"area": Area}
