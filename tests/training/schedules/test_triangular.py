"""The triangular schedule."""

from itertools import pairwise

import pytest

from imclass.training.schedules.triangular import Triangular
from tests.support.positions import at


def test_the_rate_rises_to_the_peak_and_falls_to_final() -> None:
    schedule = Triangular(rate=1.0, peak=0.25, final=0.07)
    rates = [schedule.rate_at(at(s)) for s in range(100)]
    assert max(rates) == rates[24] == pytest.approx(1.0) and rates[0] > 0 and rates[-1] == pytest.approx(0.07)
    assert all(a < b for a, b in pairwise(rates[:25]))
    assert all(a > b for a, b in pairwise(rates[24:]))
