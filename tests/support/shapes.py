"""A small data set of images with several labels: coloured shapes on grey, listed in a CSV file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHAPES = ("bar", "disc", "square")


def shapes(labels: Sequence[str], seed: int, side: int = 16) -> np.ndarray:
    """Return an H W 3 image of these shapes: red bar on the left, green disc in the middle, blue square below right."""
    pixels = np.random.default_rng(seed).integers(80, 120, (side, side, 3), dtype=np.uint8)
    rows, columns = np.indices((side, side))
    places = {
        "bar": (columns < side // 4, (220, 20, 20)),
        "disc": ((rows - side // 3) ** 2 + (columns - side // 2) ** 2 < (side // 4) ** 2, (20, 220, 20)),
        "square": ((rows > 2 * side // 3) & (columns > 2 * side // 3), (20, 20, 240)),
    }
    for label in labels:
        where, colour = places[label]
        pixels[where] = colour
    return pixels


def write_shapes(folder: Path, images: int = 60, side: int = 16, name: str = "shapes.csv", split: bool = False) -> Path:
    """Write images with every combination of shapes in turn, and the CSV file that lists them; return its path."""
    (folder / "img").mkdir(parents=True, exist_ok=True)
    lines = ["image,labels,split" if split else "image,labels"]
    for i in range(images):
        labels = [shape for k, shape in enumerate(SHAPES) if i >> k & 1]
        Image.fromarray(shapes(labels, i, side)).save(folder / "img" / f"{i:03d}.png")
        line = f"img/{i:03d}.png,{';'.join(labels)}"
        if split:
            line += "," + ("train", "train", "train", "validation", "test")[i % 5]
        lines.append(line)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name
