"""Contact sheets: rows of images with a name to the left of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow

from imclass.app.draw.canvas import open_figure
from imclass.app.draw.confusion import EM, MAX_NAME_WIDTH
from imclass.core.contracts import Image
from imclass.core.text import shorten_name, text_width

CELL, GAP, DPI = 112, 6, 120  # pixels: side of a cell, white space in it, and pixels per inch
POINTS = 10  # font size of the names


@dataclass(frozen=True)
class Sheet:
    """The contents of a contact sheet: a name and images for each row. Rows may differ in length."""

    title: str
    rows: Sequence[tuple[str, Sequence[Image]]]
    columns: Sequence[str] = ()  # the headings of the columns; empty: no headings
    note: str = ""  # printed below the images


def sheet_png(sheet: Sheet, path: Path) -> None:
    """Draw a contact sheet as a PNG. Each image is shrunk, or enlarged by a whole factor, to fit a cell."""
    mosaic = mosaic_of([images for _, images in sheet.rows])
    names = [shorten_name(name, MAX_NAME_WIDTH) for name, _ in sheet.rows]
    height, width = (side / DPI for side in mosaic.shape[:2])
    room = max(map(text_width, names)) * POINTS * EM
    title = max(text_width(line) for line in sheet.title.splitlines()) * 11 * EM
    with open_figure(path, (max(width + room, title) + 0.3, height + 0.9)) as figure:
        axes = figure.add_subplot()
        axes.imshow(mosaic, extent=(0, mosaic.shape[1], mosaic.shape[0], 0))
        axes.set_title(sheet.title, fontsize=11, loc="left", parse_math=False)
        axes.set_xlabel(sheet.note, fontsize=POINTS, loc="left", parse_math=False)
        axes.set_yticks(CELL * (np.arange(len(names)) + 0.5), names, fontsize=POINTS, parse_math=False)
        axes.set_xticks(CELL * (np.arange(len(sheet.columns)) + 0.5), sheet.columns, fontsize=POINTS)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)


def mosaic_of(rows: Sequence[Sequence[Image]]) -> UInt8[np.ndarray, "H W 3"]:
    """Return all images in one array, each in the centre of a white square cell."""
    across = max(1, *map(len, rows))
    mosaic = np.full((len(rows) * CELL, across * CELL, 3), 255, np.uint8)
    for y, images in enumerate(rows):
        for x, image in enumerate(images):
            small = fit_cell(image)
            top, left = CELL * y + (CELL - small.shape[0]) // 2, CELL * x + (CELL - small.shape[1]) // 2
            mosaic[top : top + small.shape[0], left : left + small.shape[1]] = small
    return mosaic


def fit_cell(image: Image) -> UInt8[np.ndarray, "h w 3"]:
    """Return an image in RGB, scaled to fit a cell. Its aspect ratio is kept, and each side has at least one pixel."""
    side = CELL - GAP
    rgb = np.broadcast_to(image, (*image.shape[:2], 3))
    height, width = rgb.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return rgb.repeat(side // longer, axis=0).repeat(side // longer, axis=1)
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    return np.asarray(Pillow.fromarray(np.ascontiguousarray(rgb)).resize(size, Pillow.Resampling.LANCZOS))
