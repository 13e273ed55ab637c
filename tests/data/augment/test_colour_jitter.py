"""Brightness, contrast and saturation change by their formulas, which are computed here in plain numpy."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imclass.core.randomness import Draws
from imclass.data.augment.colour_jitter import ENHANCERS, ColourJitter

VIEW = np.random.default_rng(0).integers(30, 200, (7, 9, 3), dtype=np.uint8)
DRAWS, LUMA = Draws(1, 2), np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def plain(view: np.ndarray, name: str, factor: float) -> np.ndarray:
    """Return levels moved away from black, from the mean grey level or from grey, clipped and without rounding."""
    grey = (view @ LUMA)[:, :, None] if view.shape[2] == 3 else view
    other = {"brightness": 0.0, "contrast": np.round(np.round(grey).mean()), "saturation": grey}[name]
    return (other + factor * (view - other)).clip(0, 255)


def factor_of(name: str, id: int, most: float) -> float:
    return 1 + most * (2 * DRAWS.uniform(np.array([id]), name).item() - 1)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_change_follows_its_formula(name: str) -> None:
    nothing = dict.fromkeys(("brightness", "contrast", "saturation"), 0.0)
    factors = []
    for id in range(40):
        found = ColourJitter(**nothing | {name: 0.8}).colour(VIEW.copy(), DRAWS, id)
        factors.append(factor_of(name, id, 0.8))
        assert np.abs(found - plain(VIEW.astype(float), name, factors[-1])).max() <= 1.5
    assert min(factors) < 0.5 and max(factors) > 1.5


def test_the_three_changes_come_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def record(name: str, enhancer: Any) -> Any:
        def enhance(picture: Image.Image) -> Any:
            seen.append(name)
            return enhancer(picture)

        return enhance

    recorders = {name: record(name, enhancer) for name, enhancer in ENHANCERS.items()}
    monkeypatch.setattr("imclass.data.augment.colour_jitter.ENHANCERS", recorders)
    orders = set()
    for id in range(40):
        seen.clear()
        found, view = ColourJitter(0.9, 0.9, 0.9).colour(VIEW.copy(), DRAWS, id), VIEW.astype(float)
        for name in seen:
            view = plain(view, name, factor_of(name, id, 0.9))
        assert np.abs(found - view).max() <= 6
        orders.add(tuple(seen))
    assert orders == set(permutations(ENHANCERS))


def test_zeros_change_nothing() -> None:
    assert np.array_equal(ColourJitter(0.0, 0.0, 0.0).colour(VIEW.copy(), DRAWS, 5), VIEW)


def test_a_view_in_grey_stays_in_grey() -> None:
    view = VIEW[:, :, :1].copy()
    found = ColourJitter(0.5, 0.0, 1.0).colour(view.copy(), DRAWS, 5)
    assert found.shape == view.shape
    assert np.abs(found - plain(view, "brightness", factor_of("brightness", 5, 0.5))).max() <= 1
