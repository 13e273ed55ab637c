"""Axes with round ticks, the same in every output."""

import math
from dataclasses import dataclass

STEPS = 6  # between the ticks of an axis, at most


@dataclass(frozen=True)
class Axis:
    """A range of numbers and the ticks in it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"{tick:g}" for tick in self.ticks)

    def share(self, value: float) -> float:
        """Return where `value` lies: 0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def from_zero(highest: float) -> Axis:
    """Return the axis from 0 to the first tick that is at least `highest`."""
    step = step_of(highest or 1.0)
    ticks = tuple(i * step for i in range(math.ceil(highest / step - 1e-9) + 1)) if highest > 0 else (0.0, 1.0)
    return Axis(0.0, ticks[-1], ticks)


def of_integers(first: int, last: int) -> Axis:
    """Return the axis of whole numbers, with a tick at the first of them; one number alone is in the middle."""
    if first == last:
        return Axis(first - 0.5, first + 0.5, (first,))
    step = max(1, round(step_of(last - first)))
    return Axis(first, last, (first, *(tick for tick in range(0, last + 1, step) if tick > first + step / 2)))


def step_of(span: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that covers `span` in at most `STEPS` steps."""
    least = span / STEPS
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - 1e-9))
