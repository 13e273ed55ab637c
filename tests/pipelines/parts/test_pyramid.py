"""A pyramid sets the grids of descriptors."""

import numpy as np
import pytest

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.pipelines.parts.pyramid import Pyramid
from tests.support.descriptors import random_descriptors


def test_grids_are_set() -> None:
    x = random_descriptors(4, 2)
    found = Pyramid().transform(x)
    assert found.grids == ((1, 1), (3, 1)) and found.cells == 4 and np.array_equal(found.values, x.values)
    assert Pyramid(("1x1", "2x2", "4x4")).transform(x).cells == 21
    check_bounds(Pyramid(("1x1", "2x2")))


@pytest.mark.parametrize(
    ("grids", "message"),
    (
        (("1x1", "3"), "contains '3'; it must be ROWSxCOLUMNS, each from 1 to 99, such as 3x1"),
        (("0x2",), "contains '0x2'; it must be ROWSxCOLUMNS"),
        (("2×2",), "contains '2×2'; it must be"),  # noqa: RUF001, a sign that is often typed
        ((), "is empty; list different grids, such as 1x1 3x1"),
        (("2x2", "2x2"), "contains a grid twice; list different grids"),
    ),
)
def test_invalid_grids_are_refused(grids: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pyramid(grids).transform(random_descriptors(1, 2))
    with pytest.raises(UserError, match=f"--grids {message}"):
        check_bounds(Pyramid(grids))
