"""A rectangle within the bounds becomes noise, and all other pixels stay the same."""

import math

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.core.override import override
from imclass.core.randomness import Draws
from imclass.data.augment.erase import Erase, noise
from imclass.recipes.folder import folder
from imclass.training.kinds import kind_tables

VIEW = np.full((64, 64, 3), 300 % 256, np.uint8)


def change_mask(rule: Erase, id: int, view: np.ndarray = VIEW) -> np.ndarray:
    """Return which pixels a rule changes."""
    return (rule.colour(view.copy(), Draws(1, 2), id) != view).any(-1)


def test_a_rectangle_of_the_paper_is_erased() -> None:
    tops, shares, ratios = [], [], []
    for id in range(150):
        mask = change_mask(Erase(probability=1.0), id)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        tops.append(rows[0] / max(1, 64 - height))
        assert mask.sum() >= 0.99 * height * width  # a random pixel rarely equals the old one
        shares.append(height * width / 64**2)
        ratios.append(height / width)
    assert 0.015 < min(shares) < 0.05 and 0.35 < max(shares) < 0.42
    assert 0.25 < min(ratios) < 0.5 and 2.5 < max(ratios) < 4
    assert min(tops) == 0 and max(tops) == 1 and 0.4 < np.mean(tops) < 0.6


def test_the_probability_is_that_of_an_erased_view() -> None:
    assert not any(change_mask(Erase(probability=0.0), id).any() for id in range(50))
    erased = sum(bool(change_mask(Erase(probability=0.25), id).any()) for id in range(200))
    assert abs(erased - 50) < 4 * math.sqrt(200 * 0.25 * 0.75)


def test_no_rectangle_fits() -> None:
    rule = Erase(probability=1.0, area=(1.0, 1.0), aspect=(3.0, 3.0))
    assert rule.rectangle(64, 64, Draws(0), 1) == (0, 0, 0, 0) and not change_mask(rule, 1).any()
    assert change_mask(Erase(probability=1.0, area=(1.0, 1.0), aspect=(1.0, 1.0)), 1).mean() > 0.99


def test_a_view_in_grey_is_erased() -> None:
    assert change_mask(Erase(probability=1.0), 3, VIEW[:, :, :1]).any()


def test_noise_is_the_output_of_splitmix64() -> None:
    class Seeded(Draws):
        def bits(self, ids: np.ndarray, stream: str, repeat: int = 0) -> np.ndarray:
            return np.array([1234567], np.uint64)

    # The first outputs for this seed of the generator as published by its authors.
    words = np.array([6457827717110365317, 3203168211198807973, 9817491932198370423], np.uint64)
    assert noise(20, Seeded(0), 1).tolist() == words.view(np.uint8)[:20].tolist()
    pixels = noise(100_003, Draws(0), 1)
    assert len(pixels) == 100_003 and abs(pixels.mean() - 127.5) < 1 and len(np.unique(pixels)) == 256
    assert not np.array_equal(pixels[:50], noise(50, Draws(0), 2))


@pytest.mark.parametrize("name", ["area", "aspect"])
def test_a_range_is_in_order(name: str) -> None:
    with pytest.raises(UserError, match=rf"--augment.erase.{name} is 0.5 0.3; it must be a low and a high value"):
        override(folder(), {f"augment.erase.{name}": (0.5, 0.3)}, kind_tables())
