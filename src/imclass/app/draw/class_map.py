"""Maps of a class over an image: the probability of the class at each position."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from imclass.app.draw.canvas import MISTAKE_COLOUR, open_figure
from imclass.core.contracts import Image
from imclass.core.preprocess import Box
from imclass.core.text import shorten_name
from imclass.evaluation.explanation import ClassMap

PANEL, LONGEST = 4.0, 8.0  # inches: the width of a panel, and its greatest height
TITLE_COLUMNS = 42  # characters that fit above a panel
COLOURS, OPACITY = "viridis", 0.65


def class_map_png(image: Image, maps: Sequence[ClassMap], title: str, path: Path) -> None:
    """Draw the image and, next to it, each map over the image in grey, as a PNG.

    All maps share one scale of colours, from 0 to the highest value. A frame shows the window with the highest value of
    each map.
    """
    rgb = np.broadcast_to(image, (*image.shape[:2], 3))
    height, width = image.shape[:2]
    highest = max(found.highest for found in maps) or 1.0
    inches = (PANEL * (len(maps) + 1) + 0.8, min(PANEL * height / width, LONGEST) + 0.6)
    with open_figure(path, inches) as figure:
        figure.set_layout_engine("compressed")
        first, *panels = figure.subplots(1, len(maps) + 1)
        show_image(first, rgb, title)
        grey = np.asarray(Pillow.fromarray(np.ascontiguousarray(rgb)).convert("L").convert("RGB"))
        for axes, found in zip(panels, maps, strict=True):
            show_image(axes, grey, f"shorter side {found.scale} pixels: at most {100 * found.highest:.2f}%")
            left, top, right, bottom = found.box
            style = {"vmin": 0, "vmax": highest, "alpha": OPACITY, "interpolation": "nearest"}
            drawn = axes.imshow(found.values, COLOURS, extent=(left, right, bottom, top), **style)
            for each in (first, axes):
                add_frame(each, found.window, width, height)
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        figure.colorbar(drawn, ax=panels, label="probability", shrink=0.9)


def show_image(axes: Any, image: Image, title: str) -> None:
    """Show an image without ticks and with a title."""
    axes.imshow(image)
    axes.set_title(shorten_name(title, TITLE_COLUMNS), fontsize=11, loc="left", parse_math=False)
    axes.set_axis_off()


def add_frame(axes: Any, window: Box, width: int, height: int) -> None:
    """Draw the frame of a window, as far as it lies in the image."""
    from matplotlib.patches import Rectangle

    left, top = max(window[0], 0), max(window[1], 0)
    right, bottom = min(window[2], width), min(window[3], height)
    frame = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top)
    frame.set(fill=False, edgecolor=MISTAKE_COLOUR, linewidth=2)
    axes.add_patch(frame)
