"""Spatial pyramid pooling against loops over bins and windows, and the windows of the paper."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imclass.models.layers.pyramid import SpatialPyramid


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def pyramid(window: Tensor, bins: tuple[int, ...]) -> Tensor:
    """Return the vectors of square maps, one bin at a time."""
    a, found = window.shape[2], []
    for n in bins:
        for channel in range(window.shape[1]):
            for i in range(n):
                for j in range(n):
                    rows = slice(math.floor(i * a / n), math.ceil((i + 1) * a / n))
                    columns = slice(math.floor(j * a / n), math.ceil((j + 1) * a / n))
                    found.append(window[:, channel, rows, columns].amax((1, 2)))
    return torch.stack(found, 1)


@pytest.mark.parametrize("side", [4, 7, 10])
def test_a_vector_matches_a_loop_over_bins(side: int) -> None:
    bins, whole = (1, 2, 4), maps(2, 3, side, side)
    found = SpatialPyramid(bins, side)(whole)
    assert found.shape == (2, 3 * 21)
    assert torch.equal(found, pyramid(whole, bins))


def test_maps_of_any_size_give_vectors_of_one_length() -> None:
    layer = SpatialPyramid((1, 2, 3, 6), 13)
    assert {layer(maps(1, 2, height, width)).shape[1] for height, width in [(13, 13), (10, 10), (6, 31)]} == {100}


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_bins_on_13_by_13_are_the_windows_of_the_paper(n: int) -> None:
    """Section 2.3: windows of ceil(a / n) with a stride of floor(a / n)."""
    whole = maps(1, 4, 13, 13)
    pooled = functional.max_pool2d(whole, math.ceil(13 / n), math.floor(13 / n))
    assert pooled.shape[2:] == (n, n)
    assert torch.equal(SpatialPyramid((n,), 13)(whole), pooled.flatten(1))


@pytest.mark.parametrize("dilation", [1, 2])
def test_slide_matches_a_loop_over_windows(dilation: int) -> None:
    bins, large = (1, 2, 3), maps(2, 3, 10, 12)
    found = SpatialPyramid(bins, 4).slide(large, dilation)
    reach = 3 * dilation
    assert found.shape == (2, 3 * 14, 10 - reach, 12 - reach)
    for y in range(10 - reach):
        for x in range(12 - reach):
            window = large[:, :, y : y + reach + 1 : dilation, x : x + reach + 1 : dilation]
            assert torch.equal(found[:, :, y, x], pyramid(window, bins))


def test_without_a_side_the_only_window_is_the_whole_maps() -> None:
    bins, large = (1, 2, 3), maps(2, 3, 10, 12)
    whole = SpatialPyramid(bins, None)
    assert torch.equal(whole.slide(large)[:, :, 0, 0], whole(large))
    assert torch.equal(whole.slide(large, dilation=2)[:, :, 0, 0], whole(large[:, :, ::2, ::2]))
