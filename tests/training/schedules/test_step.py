"""The schedule that falls at given steps."""

import pytest

from imclass.training.schedules.step import StepDecay
from tests.support.positions import at


def test_the_rate_falls_after_the_given_steps() -> None:
    schedule = StepDecay(rate=0.1, steps=(32_000, 48_000))
    found = [schedule.rate_at(at(s, 64_000)) for s in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
