"""Sums over the bins of patches equal a plain loop."""

import numpy as np
import pytest
import torch

from imclass.pipelines.dense.pooling import Axis, place_patches, sum_bins


@pytest.mark.parametrize(("rows", "columns"), [((3, 2, 11), (9, 5, 3)), ((14, 1, 1), (2, 3, 9))])
@pytest.mark.parametrize("radius", [2, 7])
def test_sums_equal_a_loop(rows: tuple[int, int, int], columns: tuple[int, int, int], radius: int) -> None:
    random = np.random.default_rng(0)
    maps, weights = random.standard_normal((29, 3, 31)), random.standard_normal((4, 2 * radius))
    found = sum_bins(torch.from_numpy(maps), torch.from_numpy(weights), Axis(*rows), Axis(*columns)).numpy()
    padded = np.pad(maps, ((radius, radius), (0, 0), (radius, radius)))
    expected = np.zeros((rows[2], columns[2], 4, 4, 3))
    for i in range(rows[2]):
        for j in range(columns[2]):
            y, x = rows[0] + i * rows[1], columns[0] + j * columns[1]
            window = padded[y : y + 2 * radius, :, x : x + 2 * radius]
            expected[i, j] = np.einsum("py,ymx,qx->pqm", weights, window, weights)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()


def test_patches_have_equal_margins() -> None:
    assert place_patches(16, 16, 8) == Axis(8, 8, 1)
    assert place_patches(27, 16, 8) == Axis(9, 8, 2)  # 1 pixel before the first patch, and 2 after the last
    assert place_patches(27, 16, 8).centres().tolist() == [9, 17]
