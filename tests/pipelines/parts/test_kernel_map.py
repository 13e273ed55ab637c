"""Kernel maps: comparison with the exact kernels and with scikit-learn, the periods, and rows that are refused."""

from typing import Literal, TypeAlias

import numpy as np
import pytest
from sklearn.kernel_approximation import AdditiveChi2Sampler

from imclass.core.errors import UserError
from imclass.pipelines.parts.kernel_map import KernelMap
from tests.pipelines.parts.test_kernel_svm import exact_kernel, histograms
from tests.support.tolerance import assert_near

Mapped: TypeAlias = Literal["chi2", "intersection", "jensen-shannon"]
NAMES: tuple[Mapped, ...] = ("chi2", "intersection", "jensen-shannon")
PUBLISHED: tuple[tuple[Mapped, float, float], ...] = (("chi2", 5.86, 3.65), ("jensen-shannon", 6.64, 7.24))


@pytest.mark.parametrize("kernel", NAMES)
def test_inner_products_approach_the_exact_kernel(kernel: Mapped) -> None:
    x, y = histograms(12, 30, seed=0)[0], histograms(9, 30, seed=1)[0]
    exact, larger = exact_kernel(kernel, x, y), np.maximum(x[:, None], y).sum(2)
    bounds = []
    for order in (1, 2, 4, 8, 16, 32):
        part = KernelMap(kernel, order)
        mapped = [part.transform(rows).astype(np.float64) for rows in (x, y)]
        bounds.append(part.error_bound())
        assert (np.abs(mapped[0] @ mapped[1].T - exact) <= (bounds[-1] + 1e-5) * larger).all()
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] < 0.12 and bounds[-1] < 0.013


@pytest.mark.parametrize("kernel", NAMES)
@pytest.mark.parametrize("order", [1, 3, 8])
def test_the_bound_is_reached_and_the_default_period_is_near_the_best(kernel: Mapped, order: int) -> None:
    part = KernelMap(kernel, order)
    ratios = np.exp(-np.linspace(0, 20, 4001)).astype(np.float32)[:, None]
    found = part.transform(ratios).astype(np.float64) @ part.transform(np.ones((1, 1), np.float32))[0]
    errors = np.abs(found - exact_kernel(kernel, ratios, np.ones((1, 1), np.float32))[:, 0])
    assert errors.max() == pytest.approx(part.error_bound(), rel=0.01, abs=1e-5)
    best = min(KernelMap(kernel, order, float(period)).error_bound() for period in np.linspace(5, 30, 26))
    assert part.error_bound() < 1.15 * best


@pytest.mark.parametrize("order", [1, 2, 3])
def test_periods_are_near_those_that_vlfeat_publishes(order: int) -> None:
    """Compare with those for a uniform window (vl/homkermap.c). That of the intersection kernel is shorter here."""
    for kernel, factor, least in PUBLISHED:
        assert 2 * np.pi / KernelMap(kernel, order).step == pytest.approx(factor * order**0.5 + least, rel=0.03)
    longer = 2.38 * np.log(order + 0.8) + 5.6
    assert (
        KernelMap("intersection", order).error_bound() < 0.75 * KernelMap("intersection", order, longer).error_bound()
    )


@pytest.mark.parametrize(("order", "interval"), [(1, 0.5), (2, 0.4), (4, 0.3)])
def test_the_map_is_that_of_scikit_learn_with_its_interval(order: int, interval: float) -> None:
    x = histograms(7, 20)[0]
    x[3] = 0
    peer = AdditiveChi2Sampler(sample_steps=order + 1, sample_interval=interval)
    found = KernelMap("chi2", order, 2 * np.pi / interval).transform(x)
    assert_near(found, peer.fit_transform(x.astype(np.float64)))
    assert found.dtype == np.float32 and not found[3].any()


def test_rows_that_are_not_histograms_are_refused() -> None:
    x = histograms(3, 5)[0]
    x[1, 2] = -0.25
    with pytest.raises(UserError, match=r"kernel-map needs rows without negative numbers.*contains -0.25; leave out"):
        KernelMap().transform(x)
    x[1, 2] = np.nan
    with pytest.raises(UserError, match="not finite"):
        KernelMap().transform(x)
    assert KernelMap(order=2).transform(x[:0]).shape == (0, 25)
