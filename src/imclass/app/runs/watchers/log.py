"""The log of a run."""

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from imclass.app.runs.directory import Run
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.core.errors import UserError
from imclass.training.events import EpochStart, Event, StepEnd, StepStart, summarise_evaluation

SECONDS = 0.1  # the longest time for which the records of steps wait; writing each at once takes 0.1 ms of a step


def event_record(event: Event) -> dict[str, Any]:
    """Return an event as a flat JSON object: its kind, its position in the run, and its fields."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    record: dict[str, Any] = {}
    for name, value in vars(event).items():  # without `fields` and `to_json` for numbers, which are slow for each step
        if isinstance(value, int | float | str):
            record[name] = value
        elif isinstance(value, Evaluation):
            record |= summarise_evaluation(value) | {"refused": to_json(value.refused)}
        elif name == "measures":
            record |= value
        elif name != "at":
            record[name] = str(value) if isinstance(value, Path) else to_json(value)
    return {"event": kind, **vars(event.at), **record}


class Log:
    """A consumer that writes one record per event to `log.jsonl`.

    The records of steps wait for others for a moment, but never while a checkpoint is written. A killed process
    therefore loses no record that a resumed run would not write again.
    """

    def __init__(self, run: Run) -> None:
        self.path = run.log
        self.file = run.log.open("a", encoding="utf-8")
        self.waiting: list[Event] = []
        self.flushed = time.monotonic()
        self.status = os.fstat(self.file.fileno())

    @property
    def is_in_place(self) -> bool:
        """Return whether the open file is still at its path."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(self.path), self.status)
        return False

    def see(self, event: Event) -> None:
        """Append an event, or let the end of a step wait. Raise `UserError` if the log was moved or removed."""
        if isinstance(event, StepStart):
            return  # the record of the step's end has its rate
        if isinstance(event, EpochStart) and event.at.batch > 0:
            return  # a resumed epoch, whose start is in the log already
        self.waiting.append(event)
        if not isinstance(event, StepEnd) or time.monotonic() - self.flushed >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the events that wait. Raise `UserError` if the log was moved or removed."""
        if not self.is_in_place:  # further records would be lost, or written to a file that nobody reads
            raise UserError(
                f"{self.path} was moved or removed, so training stopped. Restore {self.path.parent} and run the same "
                "command again, or start over with another --out"
            )
        waiting, self.waiting = self.waiting, []  # none is written twice if writing fails
        self.file.write("".join(json.dumps(event_record(event)) + "\n" for event in waiting))
        self.file.flush()
        self.flushed = time.monotonic()

    def close(self) -> None:
        """Write the events that wait, and close the file."""
        with contextlib.closing(self.file):
            if self.waiting and self.is_in_place:
                self.flush()
