"""Maps of a class are drawn over the image, in one scale of colours, with a frame around the best window."""

from pathlib import Path

import numpy as np
from PIL import Image

from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.class_map import class_map_png
from imclass.evaluation.explanation import ClassMap

GREY = np.full((40, 80, 1), 128, np.uint8)


def draw(path: Path, *maps: ClassMap) -> np.ndarray:
    class_map_png(GREY, maps, "a $class$ with a name of more than forty-two characters: 1.00%", path)
    assert is_our_picture(path)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def share(picture: np.ndarray, dark: bool) -> float:
    """Return the share of pixels with the dark violet of low values, or the yellow of high ones, over grey."""
    red, green, blue = np.moveaxis(picture, 2, 0)
    return float(((blue > red + 10) & (green < 90) if dark else (red > blue + 60) & (green > blue + 60)).mean())


def test_high_values_are_yellow_and_the_highest_value_sets_the_scale(tmp_path: Path) -> None:
    box, window = (20.0, 10.0, 60.0, 30.0), (-5.0, 0.0, 20.0, 20.0)
    high, low = (ClassMap(np.full((2, 4), value), box, window, 40) for value in (0.02, 0.001))
    one, both = draw(tmp_path / "one.png", high), draw(tmp_path / "both.png", high, low)
    assert both.shape[1] > 1.3 * one.shape[1]  # a panel more
    assert share(one, dark=False) > 0.05 and share(both, dark=False) > 0.03
    assert share(both, dark=True) > share(one, dark=True) + 0.02


def test_a_class_without_probability_is_drawn(tmp_path: Path) -> None:
    nothing = ClassMap(np.zeros((1, 1)), (10.0, 10.0, 20.0, 20.0), (0.0, 0.0, 20.0, 20.0), 40)
    assert draw(tmp_path / "nothing.png", nothing).std() > 0
