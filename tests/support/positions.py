"""Positions in a stage of a hundred steps."""

from imclass.core.config import Position


def at(step: int, steps: int = 100, samples: int = 0, history: tuple[float, ...] = ()) -> Position:
    """Return a position."""
    return Position(step, samples, steps, history)
