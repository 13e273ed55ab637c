"""The same rate at every step."""

from imclass.training.schedules.constant import Constant
from tests.support.positions import at


def test_the_rate_is_constant() -> None:
    assert [Constant(rate=0.3).rate_at(at(s)) for s in (0, 50, 99)] == [0.3] * 3
