"""The cosine schedule, compared with its formula."""

import math

import pytest

from imclass.training.schedules.cosine import Cosine
from tests.support.positions import at


def test_the_rate_follows_the_formula() -> None:
    schedule = Cosine(rate=2.0, final=0.1)
    for s in (0, 25, 50, 99):
        assert schedule.rate_at(at(s)) == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * s / 100))))
