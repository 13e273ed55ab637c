"""The schedule of the PaddlePaddle book."""

import pytest

from imclass.training.schedules.discrete_exponential import DiscreteExponential
from tests.support.positions import at


def test_the_rate_falls_as_in_the_book() -> None:
    """lr .1, .01, .001 in passes 0-99, 100-199, 200-299 of 50,000 images (a = .1, b = 50,000 * 100)."""
    schedule = DiscreteExponential(rate=0.1, factor=0.1, every=5_000_000)
    for passes, expected in ((0, 0.1), (99, 0.1), (100, 0.01), (199, 0.01), (200, 0.001), (299, 0.001)):
        assert schedule.rate_at(at(0, samples=passes * 50_000)) == pytest.approx(expected)
    assert schedule.rate_at(at(0, samples=5_000_000 - 1)) == pytest.approx(0.1)
