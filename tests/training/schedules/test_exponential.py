"""The schedule that falls by the same factor every few epochs."""

import pytest

from imclass.training.schedules.exponential import Exponential
from tests.support.positions import at


def test_the_rate_falls_by_four_percent_every_eight_epochs() -> None:
    schedule = Exponential(rate=0.01)
    found = [schedule.rate_at(at(0, epoch=epoch)) for epoch in (0, 7, 8, 15, 16, 249)]
    assert found == pytest.approx([0.01, 0.01, 0.0096, 0.0096, 0.009216, 0.01 * 0.96**31])


def test_the_epochs_between_two_decreases_change_with_the_number_of_epochs() -> None:
    assert Exponential().stretch(0.5) == Exponential(every=4)
