"""Local response normalisation matches the paper's formula, written as loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from imclass.models.layers.normalisation import LocalResponseNorm, SpatialResponseNorm, local_response_norm
from tests.support.tolerance import assert_near, near


def by_hand(maps: np.ndarray, n: int, k: float, alpha: float, beta: float) -> np.ndarray:
    """Sum the squares of channels i - n / 2 to i + n / 2 for channel i (Krizhevsky et al. 2012, section 3.3)."""
    channels, found = maps.shape[1], np.empty_like(maps)
    for i in range(channels):
        first, last = max(0, i - n // 2), min(channels - 1, i + (n - 1) // 2)
        total = sum(maps[:, j] ** 2 for j in range(first, last + 1))
        found[:, i] = maps[:, i] / (k + alpha * total) ** beta
    return found


def maps(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return (30 * torch.randn(2, 9, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize(("n", "k", "alpha", "beta"), [(5, 2.0, 1e-4, 0.75), (3, 1.0, 1e-2, 0.5), (4, 1.0, 1e-3, 1.0)])
def test_it_matches_the_formula_of_the_paper(n: int, k: float, alpha: float, beta: float) -> None:
    found = local_response_norm(maps(), n, k, alpha, beta).numpy()
    assert_near(found, by_hand(maps().numpy(), n, k, alpha, beta), within=1e-12)


def test_the_default_constants_are_those_of_the_paper() -> None:
    assert_near(LocalResponseNorm()(maps()).numpy(), by_hand(maps().numpy(), 5, 2.0, 1e-4, 0.75), within=1e-12)


def test_pytorch_divides_alpha_by_n() -> None:
    ours = local_response_norm(maps(), 5, 2.0, 1e-4, 0.75)
    assert_near(functional.local_response_norm(maps(), 5, 5e-4, 0.75, 2.0), ours, within=1e-12)
    assert not near(functional.local_response_norm(maps(), 5, 1e-4, 0.75, 2.0), ours, 1e-3)


def test_bfloat16_is_rounded_only_twice() -> None:
    """Sums are in float32. The divisor and the result are rounded, each by at most 2**-8."""
    rounded = maps(torch.bfloat16)
    found = local_response_norm(rounded, 5, 2.0, 1e-4, 0.75)
    assert found.dtype == torch.bfloat16
    exact = local_response_norm(rounded.double(), 5, 2.0, 1e-4, 0.75)
    assert (found.double() / exact - 1).abs().max() <= 1.01 * 2**-7


def test_normalisation_within_a_channel_matches_a_loop_over_positions() -> None:
    """Count positions beyond the border as zeros, as in Caffe's padded average."""
    found, large = SpatialResponseNorm(3, alpha=1e-3, beta=0.75)(maps()).numpy(), maps().numpy()
    expected = np.empty_like(large)
    for y in range(3):
        for x in range(4):
            squares = large[:, :, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] ** 2
            expected[:, :, y, x] = large[:, :, y, x] / (1 + 1e-3 * squares.sum((2, 3)) / 9) ** 0.75
    assert_near(found, expected, within=1e-12)
