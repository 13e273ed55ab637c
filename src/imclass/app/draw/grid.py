"""Grids of feature maps."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, PngImagePlugin

from imclass.app.draw.canvas import SOFTWARE_NAME
from imclass.core.errors import UserError
from imclass.core.files import atomic_writer

MIN_GRID_WIDTH = 480  # pixels; narrower grids are enlarged to at least this width


def map_grid(maps: Float[np.ndarray, "N H W *colours"]) -> UInt8[np.ndarray, "GH GW *colours"]:
    """Return feature maps as one picture, ceil(sqrt(N)) tiles wide, with white borders of one pixel.

    The borders are to the right of and below each tile. All maps share one scale, from the smallest value (black) to
    the largest (white), so that they can be compared. If all values are equal, the maps are black. Tiles without a map
    are white. If there is a last axis for colours, it is kept. Raise a `UserError` if the maps are empty or a
    value is not finite.
    """
    if maps.size == 0 or not np.isfinite(maps).all():
        what = "empty" if maps.size == 0 else "not finite (NaN or infinity)"
        raise UserError(
            f"feature maps of shape {' x '.join(map(str, maps.shape))} are {what}, so they cannot be drawn; "
            "choose another layer or image"
        )
    n, height, width, *colours = maps.shape
    across = math.isqrt(n - 1) + 1
    down = -(-n // across)
    values = maps.astype(np.float64)
    values -= values.min()
    values /= values.max() or 1.0
    tiles = np.full((down, across, height + 1, width + 1, *colours), 255, np.uint8)
    tiles.reshape(-1, *tiles.shape[2:])[:n, :-1, :-1] = np.rint(255 * values)
    return tiles.swapaxes(1, 2).reshape(down * (height + 1), across * (width + 1), *colours)


def grid_png(maps: Float[np.ndarray, "N H W"], path: Path) -> None:
    """Write feature maps as a grid in a PNG, enlarged so that it is at least `MIN_GRID_WIDTH` pixels wide."""
    picture = map_grid(maps)
    times = math.ceil(MIN_GRID_WIDTH / picture.shape[1])
    metadata = PngImagePlugin.PngInfo()
    metadata.add_text("Software", SOFTWARE_NAME)
    with atomic_writer(path) as file:
        Image.fromarray(picture.repeat(times, axis=0).repeat(times, axis=1)).save(file, "PNG", pnginfo=metadata)
