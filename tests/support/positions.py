"""Positions in a stage, by default one of 100 steps."""

from imclass.core.config import Position


def at(
    step: int,
    steps: int = 100,
    samples: int = 0,
    history: tuple[float, ...] = (),
    errors: tuple[float, ...] = (),
    epoch: int = 0,
) -> Position:
    """Return the position before a step."""
    return Position(step, samples, steps, history, errors, epoch)
