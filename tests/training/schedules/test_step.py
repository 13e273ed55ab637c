"""The schedule that falls at given steps."""

import pytest

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.training.schedules.step import StepDecay
from tests.support.positions import at


def test_the_rate_falls_after_the_given_steps() -> None:
    schedule = StepDecay(rate=0.1, steps=(32_000, 48_000))
    found = [schedule.rate_at(at(s, 64_000)) for s in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    ("errors", "expected"),
    [((), 0.01), ((0.9,), 0.01), ((0.9, 0.8), 0.01), ((0.79,), 0.1), ((0.79, 0.9), 0.1), ((0.9, 0.8, 0.3), 0.1)],
)
def test_the_rate_is_low_until_the_training_error_of_an_epoch_is_low_enough(
    errors: tuple[float, ...], expected: float
) -> None:
    """Check that the rate stays high after the first such epoch, even if the error rises again."""
    schedule = StepDecay(rate=0.1, steps=(32_000, 48_000), warm_rate=0.01, warm_error=0.8)
    assert schedule.rate_at(at(400, 64_000, errors=errors)) == pytest.approx(expected)


def test_a_low_rate_does_not_raise_the_rate_after_a_decrease() -> None:
    schedule = StepDecay(rate=0.1, steps=(10, 20), warm_rate=0.05)
    assert [schedule.rate_at(at(s)) for s in (9, 10, 20)] == pytest.approx([0.05, 0.01, 0.001])
    assert StepDecay(rate=0.1, steps=(10,)).rate_at(at(0, errors=(1.0,))) == 0.1


def test_a_low_rate_above_the_rate_is_refused() -> None:
    with pytest.raises(UserError, match=r"--warm-rate is 0\.2; it must be at most the rate, 0\.1"):
        check_bounds(StepDecay(rate=0.1, steps=(10,), warm_rate=0.2))


def test_the_rate_falls_after_the_given_epochs() -> None:
    schedule = StepDecay(rate=0.1, epochs=(30, 60, 90))
    found = [schedule.rate_at(at(0, epoch=epoch)) for epoch in (0, 29, 30, 59, 60, 89, 90, 99)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 1e-4, 1e-4])
    assert schedule.stretch(0.5) == StepDecay(rate=0.1, epochs=(15, 30, 45))


@pytest.mark.parametrize(("steps", "epochs"), [((), ()), ((3,), (1,))])
def test_a_schedule_has_either_steps_or_epochs(steps: tuple[int, ...], epochs: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="it must be given unless epochs is, but not both"):
        check_bounds(StepDecay(steps=steps, epochs=epochs))
