"""Colour rules change one view at a time, and leave the array that they are given unchanged."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from imclass.core.config import Augment
from imclass.core.contracts import Image
from imclass.core.errors import UserError
from imclass.core.randomness import Draws
from imclass.data.augment.colour import paint
from imclass.data.augment.colour_jitter import ColourJitter
from imclass.data.augment.erase import Erase
from imclass.data.augment.flip import Flip
from imclass.data.augment.pca_colour import PcaColour
from imclass.data.augment.trivial import Trivial

VIEWS = np.random.default_rng(0).integers(0, 200, (5, 3, 4, 6), dtype=np.uint8)
IDS = np.arange(10, 15)


@dataclass(frozen=True)
class Brighten(Augment):
    """A random level added in place."""

    kind: ClassVar[str] = "brighten"
    most: int = 50

    def colour(self, view: Image, draws: Draws, id: int) -> Image:
        view += np.uint8(self.most * draws.uniform(np.array([id]), "level")[0])
        return view


@dataclass(frozen=True)
class Wrong(Augment):
    """A rule whose result is not a view."""

    kind: ClassVar[str] = "wrong"

    def colour(self, view: Image, draws: Draws, id: int) -> Image:
        return view / 2


def test_each_view_is_changed_by_its_draws() -> None:
    before = VIEWS.copy()
    found = paint(VIEWS, (Flip(), Brighten()), Draws(1, 2), IDS)
    levels = 50 * Draws(1, 2, "brighten.").uniform(IDS, "level")
    assert np.array_equal(found, VIEWS + levels.astype(np.uint8)[:, None, None, None])
    assert np.array_equal(VIEWS, before) and len(set(levels)) == 5
    one = paint(VIEWS[3:4], (Brighten(),), Draws(1, 2), IDS[3:4])
    assert np.array_equal(one[0], found[3])


def test_rules_see_rgb_in_any_order_of_the_channels() -> None:
    rules = (ColourJitter(), Brighten())
    found = paint(VIEWS, rules, Draws(1, 2), IDS)
    turned = paint(VIEWS[:, ::-1], rules, Draws(1, 2), IDS, "bgr")
    assert np.array_equal(turned[:, ::-1], found)
    assert not np.array_equal(paint(VIEWS[:, ::-1], rules, Draws(1, 2), IDS)[:, ::-1], found)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_kinds_work_one_after_another(channels: int) -> None:
    shift = PcaColour(0.5).with_measured(np.full((channels, channels), 0.2, np.float32))
    kinds = (shift, ColourJitter(), Trivial(), Erase(probability=1.0, area=(0.1, 0.2)), Brighten())
    views = VIEWS[:, :channels]
    for rules in (kinds, kinds[::-1]):
        found = paint(views, rules, Draws(1), IDS)
        assert found.shape == views.shape and all((found != views).any((1, 2, 3)))


def test_without_colour_rules_the_same_array_is_returned() -> None:
    assert paint(VIEWS, (Flip(),), Draws(1), IDS) is VIEWS


def test_a_result_of_another_type_is_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"the augmentation wrong turned a view of shape \(4, 6, 3\) and type uint8 into one of shape ",
    ):
        paint(VIEWS, (Wrong(),), Draws(1), IDS)


def test_a_kind_has_one_method() -> None:
    with pytest.raises(TypeError, match="the augmentation Nothing must have one of the methods"):
        type("Nothing", (Augment,), {})
    with pytest.raises(TypeError, match="the augmentation Both must have one of the methods"):
        type("Both", (Augment,), {"windows": None, "colour": None})
