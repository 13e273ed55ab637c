"""A constant learning rate."""

from dataclasses import dataclass
from typing import ClassVar

from imclass.core.config import Position, Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """A schedule with the same learning rate at every step."""

    kind: ClassVar[str] = "constant"

    def share_at(self, position: Position) -> float:
        """Return 1."""
        return 1.0


SCHEDULES = {"constant": Constant}
