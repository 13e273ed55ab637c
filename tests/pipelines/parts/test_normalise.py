"""Rows are normalised; rows of zeros remain."""

import numpy as np

from imclass.pipelines.parts.normalise import Normalise
from tests.support.tolerance import assert_near

ROWS = np.array([[3, -4, 0], [0, 0, 0], [1e-25, 0, 0]], np.float32)


def test_rows_are_normalised() -> None:
    expected = np.array([[0.6, -0.8, 0], [0, 0, 0], [1, 0, 0]])
    assert_near(Normalise().transform(ROWS), expected)
    root = np.array([[3**0.5, -2, 0], [0, 0, 0], [1e-25**0.5, 0, 0]])
    assert_near(Normalise(0.5, False).transform(ROWS), root)
    assert_near(Normalise(0.5).transform(ROWS.astype(np.float64))[0], root[0] / 7**0.5)
    cube = np.array([[3 ** (1 / 3), -(4 ** (1 / 3)), 0]])
    assert_near(Normalise(1 / 3, False).transform(ROWS[:1]), cube)
    assert Normalise(1.0, False).transform(ROWS).dtype == np.float32
    assert Normalise().transform(ROWS[:0]).shape == (0, 3)
