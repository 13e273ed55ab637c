"""Feature maps are one grid on one scale, enlarged by a whole factor."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imclass.app.draw.grid import grid_png, map_grid
from imclass.core.errors import UserError


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def test_grid_of_sixty_four_maps_is_264_pixels_square() -> None:
    maps = np.random.default_rng(0).normal(size=(64, 32, 32)).astype(np.float32)
    picture = map_grid(maps)
    assert picture.shape == (264, 264) and picture.dtype == np.uint8
    expected = np.full((264, 264), 255)
    low, high = float(maps.min()), float(maps.max())
    for i, tile in enumerate(maps.astype(float)):
        top, left = 33 * (i // 8), 33 * (i % 8)
        expected[top : top + 32, left : left + 32] = np.round(255 * (tile - low) / (high - low))
    assert (picture == expected).all()
    assert (picture[32::33] == 255).all() and (picture[:, 32::33] == 255).all()


@pytest.mark.parametrize(("n", "down", "across"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3), (9, 3, 3), (10, 3, 4)])
def test_grid_is_nearly_square_and_white_where_there_is_no_map(n: int, down: int, across: int) -> None:
    picture = map_grid(np.zeros((n, 3, 5)))
    assert picture.shape == (4 * down, 6 * across)
    assert (picture == 0).sum() == n * 15 and (picture == 255).sum() == picture.size - n * 15


@pytest.mark.parametrize("value", [0.0, -3.5, 1e30])
def test_constant_maps_are_flat(value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 0/0 would warn and give NaN
        picture = map_grid(np.full((4, 6, 6), value, np.float32))
    assert (picture[:6, :6] == 0).all()


def test_a_constant_map_among_others_is_flat_on_the_common_scale() -> None:
    maps = np.stack([np.full((4, 4), 0.5), np.linspace(0, 1, 16).reshape(4, 4)])
    picture = map_grid(maps)
    assert (picture[:4, :4] == 128).all() and (picture[0, 5], picture[3, 8]) == (0, 255)


def test_half_precision_maps_do_not_overflow() -> None:
    picture = map_grid(np.array([[[-6e4, 6e4]]], np.float16))  # their difference overflows half precision
    assert picture[0].tolist() == [0, 255, 255]


@pytest.mark.parametrize(
    ("maps", "problem"), [(np.full((1, 2, 2), np.nan), "not finite"), (np.zeros((0, 2, 2)), "empty")]
)
def test_maps_that_cannot_be_drawn_are_refused(maps: np.ndarray, problem: str) -> None:
    with pytest.raises(UserError, match=f"{maps.shape[0]} x 2 x 2 are {problem}"):
        map_grid(maps)


@pytest.mark.parametrize(("side", "times"), [(8, 18), (170, 1)])
def test_grid_png_is_the_grid_enlarged_by_a_whole_factor(side: int, times: int, tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(5, side, side))
    grid_png(maps, tmp_path / "grid.png")
    drawn, exact = pixels(tmp_path / "grid.png")[:, :, 0], map_grid(maps)
    assert drawn.shape[1] == times * exact.shape[1] >= 480 > (times - 1) * exact.shape[1]
    assert (drawn == np.kron(exact, np.ones((times, times), np.uint8))).all()
