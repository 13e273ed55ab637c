"""Positions are appended to descriptors."""

import numpy as np

from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.parts.positions import Positions
from tests.support.descriptors import random_descriptors


def test_fractions_of_width_and_height_are_appended() -> None:
    wide, tall = random_descriptors(1, 2, height=10, length=40), random_descriptors(1, 2, height=80, length=20)
    wide.positions[:], tall.positions[:] = (10, 0), (5, 80)
    x = join_descriptors([wide, tall])
    assert Positions().transform(x).values[:, 2:].tolist() == [[-0.25, -0.5], [-0.25, 0.5]]
    assert Positions(2.0).transform(x).values[:, 2:].tolist() == [[-0.5, -1], [-0.5, 1]]
    found = Positions().transform(x)
    assert np.array_equal(found.values[:, :2], x.values) and found.values.dtype == np.float32
    assert Positions().transform(x.select(np.zeros(2, bool))).values.shape == (0, 4)
