"""Progress of the tasks of a fit."""
# Tested in tests/training/fits/test_fitter.py

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from imclass.core.contracts import Refused
from imclass.training.events import RunPosition, TaskProgress

EVENT_SECONDS = 0.5  # the shortest time between two events of a task


@dataclass
class TaskPace:
    """The progress of a task, from which events are made."""

    at: RunPosition
    task: str
    unit: str
    computed: int = 0
    refused: list[Refused] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    last: float = 0.0

    def events(self, done: int, total: int) -> Iterator[TaskProgress]:
        """Yield an event if the last one was long enough ago, if an image was refused, or if the task is finished."""
        now = time.monotonic()
        if done < total and not self.refused and now - self.last < EVENT_SECONDS:
            return
        self.last, refused = now, tuple(self.refused)
        self.refused.clear()
        yield TaskProgress(self.at, self.task, done, total, self.unit, self.computed, now - self.began, refused)
