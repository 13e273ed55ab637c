"""Feature maps as one grid."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, PngImagePlugin

from imclass.app.draw.canvas import SOFTWARE_NAME
from imclass.core.errors import UserError
from imclass.core.files import atomic_writer

MIN_GRID_WIDTH = 480  # pixels: a grid of small maps is enlarged until it can be looked at


def map_grid(maps: Float[np.ndarray, "N H W *colours"]) -> UInt8[np.ndarray, "GH GW *colours"]:
    """Feature maps as one grey picture of ceil(sqrt(N)) tiles a side, with 1-pixel white right and bottom borders.

    One scale for all maps, from the smallest value (black) to the largest (white), so that they can be compared; maps
    of one constant value are black. Places without a map are white. A further axis, of filters on colours, is kept.
    """
    if maps.size == 0 or not np.isfinite(maps).all():
        what = "empty" if maps.size == 0 else "not finite (NaN or infinity)"
        raise UserError(
            f"feature maps of shape {' x '.join(map(str, maps.shape))} are {what}; there is no picture of them"
        )
    n, height, width, *colours = maps.shape
    side = math.isqrt(n - 1) + 1
    values = maps.astype(np.float64)
    values -= values.min()
    values /= values.max() or 1.0
    tiles = np.full((side, side, height + 1, width + 1, *colours), 255, np.uint8)
    tiles.reshape(-1, *tiles.shape[2:])[:n, :-1, :-1] = np.rint(255 * values)
    return tiles.swapaxes(1, 2).reshape(side * (height + 1), side * (width + 1), *colours)


def grid_png(maps: Float[np.ndarray, "N H W"], path: Path) -> None:
    """`grid` as a picture of at least `WIDE` pixels across: each value becomes a square of a whole number of pixels."""
    picture = map_grid(maps)
    times = math.ceil(MIN_GRID_WIDTH / picture.shape[1])
    told = PngImagePlugin.PngInfo()
    told.add_text("Software", SOFTWARE_NAME)
    with atomic_writer(path) as file:
        Image.fromarray(picture.repeat(times, axis=0).repeat(times, axis=1)).save(file, "PNG", pnginfo=told)
