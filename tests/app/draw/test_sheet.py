"""Contact sheets: every image stands in its cell with its pixels, and no name is cut off."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.sheet import CELL, GAP, Sheet, fit_cell, mosaic_of, sheet_png
from tests.app.draw.support import figure_of
from tests.app.draw.test_confusion import NAMES


def image(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (height, width, channels), dtype=np.uint8)


def test_every_image_stands_in_the_centre_of_its_cell() -> None:
    rows = [[image(12, 12), image(9, 20, seed=1)], [image(300, 200, seed=2)], []]
    mosaic = mosaic_of(rows)
    assert mosaic.shape == (3 * CELL, 2 * CELL, 3)
    white = np.ones(mosaic.shape[:2], bool)
    for y, images in enumerate(rows):
        for x, each in enumerate(images):
            small = fit_cell(each)
            cell = mosaic[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL]
            top, left = (CELL - small.shape[0]) // 2, (CELL - small.shape[1]) // 2
            assert np.array_equal(cell[top : top + small.shape[0], left : left + small.shape[1]], small)
            here = np.s_[
                y * CELL + top : y * CELL + top + small.shape[0], x * CELL + left : x * CELL + left + small.shape[1]
            ]
            white[here] = False
    assert (mosaic[white] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_image_is_enlarged_by_a_whole_factor(channels: int) -> None:
    small = image(10, 28, channels)
    large = fit_cell(small)
    factor = (CELL - GAP) // 28
    assert large.shape == (10 * factor, 28 * factor, 3)
    assert np.array_equal(large[::factor, ::factor], np.broadcast_to(small, (10, 28, 3)))
    assert np.array_equal(large[factor - 1 :: factor, factor - 1 :: factor], large[::factor, ::factor])


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [(212, 106, (106, 53)), (106, 106, (106, 106)), (5000, 3, (106, 1)), (2, 900, (1, 106))],
)
def test_a_large_image_is_shrunk_with_its_aspect_ratio(height: int, width: int, shape: tuple[int, int]) -> None:
    assert fit_cell(image(height, width)).shape[:2] == shape
    assert (fit_cell(np.full((height, width, 1), 77, np.uint8)) == 77).all()


def pixels(path: Path) -> np.ndarray:
    with Pillow.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("each", [1, 9])
def test_no_name_is_cut_off(each: int, tmp_path: Path) -> None:
    """Check that the picture's margin is white on all sides, for names of any kind and a long title and note."""
    rows = [(name, [image(12, 12)] * each) for name in NAMES]
    sheet = Sheet("a long title " * 8 + "$x", rows, [f"epoch {k}" for k in range(each)], "a long note_ " * 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sheet_png(sheet, tmp_path / "s.png")
    shown = pixels(tmp_path / "s.png")
    assert is_our_picture(tmp_path / "s.png")
    for border in (shown[:5], shown[-5:], shown[:, :5], shown[:, -5:]):
        assert (border == 255).all()
    assert shown.shape[0] > len(NAMES) * CELL * 0.9 and shown.shape[1] > each * CELL * 0.9


def test_names_stand_beside_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = Sheet("t", [("кошка", [image(5, 5)]), ("$b$", [])], ["image"], "n")
    figure = figure_of(lambda: sheet_png(sheet, tmp_path / "s.png"), monkeypatch)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["кошка", "$b$"]
    assert axes.get_yticks().tolist() == [CELL / 2, 3 * CELL / 2] and axes.get_ylim() == (2 * CELL, 0)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["image"]
    assert axes.get_title("left") == "t" and axes.get_xlabel() == "n"
