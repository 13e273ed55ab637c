"""Learning rates as pure functions of position and history; nothing to save, nothing to resume."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from imclass.core.config import Schedule


@dataclass(frozen=True)
class Position:
    """How far a stage has come: steps and images done before the step in question, and steps in all."""

    step: int
    samples: int
    steps: int


def rate(schedule: Schedule, position: Position, history: Sequence[float] = ()) -> float:
    """The learning rate of the step at `position`; `history` holds the stage's validation accuracies so far."""
    share = SHARES[schedule.name](schedule, position, history)
    if position.step < schedule.warmup:  # Goyal et al., arXiv:1706.02677, section 2.2: climb linearly to the schedule
        share *= (position.step + 1) / schedule.warmup
    return schedule.rate * share


def constant(schedule: Schedule, position: Position, history: Sequence[float]) -> float:
    """1."""
    return 1.0


def step(schedule: Schedule, position: Position, history: Sequence[float]) -> float:
    """`factor` to the number of `steps` passed (He et al. 2015, section 4.2: 32k and 48k)."""
    return schedule.factor ** sum(position.step >= s for s in schedule.steps)


def discrete_exponential(schedule: Schedule, position: Position, history: Sequence[float]) -> float:
    """a ** floor(n / b) with n images seen, b = `every` and a = `factor`: PaddlePaddle's "discexp" of 2016."""
    return schedule.factor ** (position.samples // schedule.every)


def plateau(schedule: Schedule, position: Position, history: Sequence[float]) -> float:
    """`factor` for each `patience` evaluations in a row without a better validation accuracy (VGG, section 3.1)."""
    best, waited, falls = -math.inf, 0, 0
    for accuracy in history:
        waited = 0 if accuracy > best else waited + 1
        best = max(best, accuracy)
        if waited == schedule.patience:
            waited, falls = 0, falls + 1
    return schedule.factor**falls


def cosine(schedule: Schedule, position: Position, history: Sequence[float]) -> float:
    """Half a cosine from 1 to `final` after the warm-up (Loshchilov and Hutter, arXiv:1608.03983, equation 5)."""
    done = max(0, position.step - schedule.warmup) / max(1, position.steps - schedule.warmup)
    return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * done)) / 2


def triangular(schedule: Schedule, position: Position, history: Sequence[float]) -> float:
    """Linearly from 0 to 1 at the share `peak` of the stage, then linearly to `final` (Smith, arXiv:1506.01186)."""
    done = (position.step + 1) / max(1, position.steps)  # the first step has a rate above 0, the last has `final`
    if done <= schedule.peak:
        return done / schedule.peak
    return 1 - (1 - schedule.final) * (done - schedule.peak) / (1 - schedule.peak)


SHARES: Mapping[str, Callable[[Schedule, Position, Sequence[float]], float]] = MappingProxyType(
    {
        "constant": constant,
        "step": step,
        "discrete-exponential": discrete_exponential,
        "plateau": plateau,
        "cosine": cosine,
        "triangular": triangular,
    }
)
