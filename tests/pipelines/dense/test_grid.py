"""Centres and scales of patches on images of any size."""

import threading

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.pipelines.dense.grid import resize_image
from imclass.pipelines.parts.colour_statistics import ColourStatistics


def image_of(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), np.uint8)


def test_all_scales_have_the_same_centres() -> None:
    found = ColourStatistics().transform([image_of(75, 100)])
    assert sorted(set(found.scales.tolist())) == [16, 24, 32, 44, 64]
    each = found.positions.reshape(5, -1, 2)
    assert (each == each[0]).all() and len(each[0]) == 8 * 11
    assert each[0, 0].tolist() == [10, 9] and each[0, 1].tolist() == [18, 9] and each[0, -1].tolist() == [90, 65]


def test_scales_that_do_not_fit_are_left_out_and_tiny_images_enlarged() -> None:
    part = ColourStatistics()
    assert set(part.transform([image_of(31, 90)]).scales.tolist()) == {16, 24}
    tiny = part.transform([image_of(4, 32)])  # enlarged to 16 x 32
    assert tiny.positions.tolist() == [[8, 2], [16, 2], [24, 2]] and tiny.scales.tolist() == [8, 8, 8]
    assert len(part.transform([image_of(1, 1, 1)])) == 1
    assert part.transform([image_of(1, 4000)]).positions[:, 0].max() < 4000


def test_positions_of_a_reduced_image_are_those_of_the_original() -> None:
    image = image_of(120, 160)
    reduced = ColourStatistics(max_side=80).transform([image])
    whole = ColourStatistics(max_side=0).transform([resize_image(image, 80, 1)])
    assert np.array_equal(reduced.values, whole.values)
    assert np.array_equal(reduced.positions, 2 * whole.positions) and np.array_equal(reduced.scales, 2 * whole.scales)
    assert reduced.sizes.tolist() == [[120, 160]]
    assert resize_image(image, 160, 16) is image and resize_image(image, 0, 16) is image


def test_images_are_independent_also_in_several_threads() -> None:
    images = [image_of(40 + i, 50) for i in range(6)]
    part = ColourStatistics()
    together = part.transform(images).of_each_image()
    found: dict[int, np.ndarray] = {}

    def describe(i: int) -> None:
        found[i] = part.transform([images[i]]).values

    threads = [threading.Thread(target=describe, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], together[i].values) for i in range(6))


def test_no_images_and_other_channels() -> None:
    empty = ColourStatistics().transform([])
    assert empty.values.shape == (0, 96) and empty.images == 0
    with pytest.raises(UserError, match="1 or 3 channels, and this one has 4; convert"):
        ColourStatistics().transform([image_of(20, 20, 4)])
