"""Random crops: their distribution, their position, and that they fit."""

import math

import numpy as np
import pytest

from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.data.augment.area import MAX_TRIES, Area
from imclass.data.augment.window import choose, render_view, scope_draws

GOOGLENET = Area()


def boxes(height: int, width: int, *rules: Area, ids: int = 200) -> np.ndarray:
    """Return left, top, right and bottom, with a row for each image."""
    found = choose(np.full((ids, 2), (height, width)), 8, rules, Draws(0), np.arange(ids)).boxes
    assert found is not None
    return found


def test_crops_respect_area_and_aspect_and_reach_every_edge() -> None:
    height, width = 300, 400
    left, top, right, bottom = boxes(height, width, GOOGLENET, ids=2000).T
    assert min(left.min(), top.min()) >= 0 and right.max() <= width and bottom.max() <= height
    h, w = bottom - top, right - left
    share, aspect = h * w / (height * width), w / h
    assert 0.08 <= share.min() < 0.09 and 0.95 < share.max() <= 1
    assert 3 / 4 <= aspect.min() * (1 + 1e-9) < 0.76 and 1.31 < aspect.max() <= 4 / 3 * (1 + 1e-9)
    assert abs(np.log(aspect[share < 0.3]).mean()) < 0.03  # a ratio and its inverse are equally likely
    fits = share[share < 0.55]  # in any shape, so that none of these was drawn twice
    assert abs((fits < 0.3).mean() - (0.3 - 0.08) / (0.55 - 0.08)) < 0.04
    assert max(left.min(), top.min(), width - right.max(), height - bottom.max()) < 1


def test_a_crop_does_not_depend_on_the_other_images() -> None:
    rng = np.random.default_rng(0)
    sizes, ids = rng.integers(1, 500, (300, 2)), rng.integers(0, 2**62, 300)
    whole = choose(sizes, 8, (GOOGLENET,), Draws(4, 2), ids).boxes
    assert whole is not None
    for i in range(0, 300, 7):
        one = choose(sizes[i : i + 1], 8, (GOOGLENET,), Draws(4, 2), ids[i : i + 1]).boxes
        assert one is not None and np.array_equal(one[0], whole[i])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (2, 3), (10, 1000), (1000, 10)])
def test_an_image_that_no_random_crop_fits_gives_its_centre(height: int, width: int) -> None:
    image, preprocess = np.zeros((height, width, 3), np.uint8), Preprocess(size=8, resize="squash")
    for id in range(30):
        windows = choose(np.array([[height, width]]), 8, (Area(area=(0.9, 1.0)),), Draws(0), np.array([id]))
        assert windows.boxes is not None
        left, top, right, bottom = windows.boxes[0]
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert render_view(image, windows, preprocess).shape == (8, 8, 3)
        if max(height, width) > 100:
            assert left == pytest.approx(width - right) and top == pytest.approx(height - bottom)
            assert min(right - left, bottom - top) == pytest.approx(min(height, width))
            assert max(right - left, bottom - top) == pytest.approx(min(height, width) * 4 / 3)


def test_a_crop_that_does_not_fit_is_drawn_again_with_the_next_numbers() -> None:
    rule, tried = Area(area=(0.5, 1.0), aspect=(1.0, 3.0)), 0
    found = boxes(100, 100, rule)
    ((_, draws),) = scope_draws((rule,), Draws(0))
    for id in range(200):
        for trial in range(MAX_TRIES):
            area, aspect, x, y = (draws.uniform(np.array([id]), s, trial)[0] for s in ("area", "aspect", "x", "y"))
            size, ratio = (0.5 + 0.5 * area) * 100 * 100, 3.0**aspect
            w, h = math.sqrt(size * ratio), math.sqrt(size / ratio)
            if w <= 100 and h <= 100:
                expected = (x * (100 - w), y * (100 - h), x * (100 - w) + w, y * (100 - h) + h)
                assert found[id] == pytest.approx(expected, rel=1e-12)
                tried += trial > 0
                break
    assert tried > 20


def test_a_second_area_crops_the_first() -> None:
    one, two = boxes(300, 400, GOOGLENET), boxes(300, 400, GOOGLENET, Area(area=(0.25, 0.25), aspect=(1.0, 1.0)))
    assert (two[:, :2] >= one[:, :2]).all() and (two[:, 2:] <= one[:, 2:]).all()
    (w, h), (v, u) = (one[:, 2:] - one[:, :2]).T, (two[:, 2:] - two[:, :2]).T
    fits = np.sqrt(0.25 * w * h) < np.minimum(w, h)
    assert fits.any() and (u * v)[fits] == pytest.approx(0.25 * (w * h)[fits])


def test_a_crop_of_the_full_area_is_the_image() -> None:
    whole = boxes(30, 30, Area(area=(1.0, 1.0), aspect=(1.0, 1.0)))
    assert np.array_equal(whole, np.full((200, 4), (0, 0, 30, 30)))
