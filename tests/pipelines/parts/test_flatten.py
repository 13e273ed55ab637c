"""Descriptors are joined in order, and images of another size are refused."""

from dataclasses import replace

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.parts.flatten import Flatten
from imclass.pipelines.parts.hog import Hog
from tests.support.descriptors import NO_TARGETS, random_descriptors


def test_rows_are_the_descriptors_in_order() -> None:
    several = [random_descriptors(6, 4, seed) for seed in range(3)]
    x = join_descriptors(several)
    part = Flatten().fit(x, NO_TARGETS, 2)
    rows = part.transform(x)
    assert rows.shape == (3, 24) and rows.dtype == np.float32
    assert np.array_equal(rows, np.stack([each.values.reshape(-1) for each in several]))
    assert np.array_equal(part.transform(several[1]), rows[1:2])
    assert part.arrays()["size_"].tolist() == [40, 60]


def test_images_of_another_size_are_refused_with_their_sizes() -> None:
    """Compare images of 64 x 128 and 128 x 64 pixels: they have as many blocks, but at other places."""
    images = [np.zeros(shape, np.uint8) for shape in ((64, 128, 1), (128, 64, 1))]
    lying, upright = (Hog().transform([image]) for image in images)
    assert len(lying) == len(upright)
    with pytest.raises(UserError, match=r"they have 2 sizes .* such as 64 x 128, 128 x 64; put the part res"):
        Flatten().fit(join_descriptors([lying, upright]), NO_TARGETS, 2)
    with pytest.raises(UserError, match=r"fitted to images of 64 x 128 pixels .* has 128 x 64; put the part resize fi"):
        Flatten().fit(lying, NO_TARGETS, 2).transform(upright)


def test_a_pyramid_and_numbers_that_are_not_finite_are_refused() -> None:
    x = random_descriptors(6, 4)
    part = Flatten().fit(x, NO_TARGETS, 2)
    with pytest.raises(UserError, match="does not use cells of a pyramid; leave the part pyramid out"):
        part.transform(replace(x, grids=((2, 2),)))
    with pytest.raises(UserError, match="1 of 6 descriptors contain NaN"):
        part.transform(x.with_values(np.where(np.arange(6)[:, None] == 2, np.float32(np.nan), x.values)))
    with pytest.raises(UserError, match="the part flatten has no size_, because it has not been fitted"):
        Flatten().transform(x)
