"""Axes with ticks at round numbers, for PNGs and for reports."""

# Tested in tests/app/draw/test_curves.py

import math
from collections.abc import Mapping
from dataclasses import dataclass

MAX_STEPS = 6  # maximum number of intervals between an axis's ticks


@dataclass(frozen=True)
class PlotAxis:
    """A range of numbers, with labels at round numbers."""

    low: float
    high: float
    ticks: Mapping[int | float, str]

    def place(self, value: int | float, start: int, end: int) -> str:
        """Return the coordinate of `value` on a line from `start` to `end`."""
        return f"{start + (end - start) * (value - self.low) / (self.high - self.low):.1f}"


def zero_based_axis(highest: float) -> PlotAxis:
    """Return an axis from 0 to the first tick that is at least `highest`."""
    step = tick_step(highest or 1.0)
    ticks = [i * step for i in range(max(1, math.ceil(highest / step - 1e-9)) + 1)]
    return PlotAxis(0.0, ticks[-1], {tick: f"{tick:g}" for tick in ticks})


def integer_axis(first: int, last: int) -> PlotAxis:
    """Return an axis of whole numbers with a tick at the first number. If there is only one number, it is centred."""
    step = max(1, round(tick_step(last - first or 1)))
    margin = 0.0 if last > first else 0.5
    ticks = (first, *(tick for tick in range(0, last + 1, step) if tick > first + step / 2))
    return PlotAxis(first - margin, last + margin, {tick: f"{tick}" for tick in ticks})


def tick_step(span: int | float) -> float:
    """Return the smallest step (1, 2 or 5 times a power of ten) that covers `span` in at most `MAX_STEPS` steps."""
    min_step = span / MAX_STEPS
    power = 10.0 ** math.floor(math.log10(min_step))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= min_step * (1 - 1e-9))
