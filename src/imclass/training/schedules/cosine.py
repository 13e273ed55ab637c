"""Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5, without restarts."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import AtLeast, AtMost
from imclass.core.config import Position, Schedule


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """A schedule that follows half a period of a cosine, from 1 to `final`, after the warm-up."""

    kind: ClassVar[str] = "cosine"
    final: Annotated[float, AtLeast(0), AtMost(1)] = 0.0  # the last rate, as a fraction of `rate`

    def share_at(self, position: Position) -> float:
        """Return the value of the cosine at the current step."""
        warmup = self.warmup_of(position.steps)
        done = max(0, position.step - warmup) / max(1, position.steps - warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


SCHEDULES = {"cosine": Cosine}
