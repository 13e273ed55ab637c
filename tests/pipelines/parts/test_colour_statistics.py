"""Colour statistics equal numpy's mean and standard deviation of each bin."""

import numpy as np

from imclass.pipelines.parts.colour_statistics import ColourStatistics


def test_statistics_equal_numpy_also_at_the_edges() -> None:
    image = np.random.default_rng(0).integers(0, 256, (53, 70, 3), np.uint8)
    found = ColourStatistics(step=9).transform([image])
    assert found.values.dtype == np.float32 and found.values.shape[1] == 96
    for value, (x, y), scale in zip(found.values[::7], found.positions[::7], found.scales[::7], strict=True):
        side = int(scale) // 4
        expected = np.zeros((4, 4, 2, 3))
        for i in range(4):
            for j in range(4):
                top, left = int(y) + (i - 2) * side, int(x) + (j - 2) * side
                pixels = (
                    image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)].reshape(-1, 3) / 255
                )
                if len(pixels):
                    expected[i, j] = pixels.mean(0), pixels.std(0)
        assert np.abs(value - expected.ravel()).max() < 1e-6


def test_an_image_of_one_colour_has_no_deviation() -> None:
    image = np.full((40, 40, 3), (10, 130, 255), np.uint8)
    values = ColourStatistics(scales=2).transform([image]).values.reshape(-1, 4, 4, 2, 3)
    assert not values[..., 1, :].any()
    assert np.allclose(values[..., 0, :].max((0, 1, 2)), [10 / 255, 130 / 255, 1], rtol=1e-6)


def test_a_grey_image_has_three_equal_channels() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8)
    part = ColourStatistics()
    assert np.array_equal(part.transform([grey]).values, part.transform([np.repeat(grey, 3, 2)]).values)
