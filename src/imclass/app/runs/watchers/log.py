"""Consumers of a run's events: the log, TensorBoard, the curves. Each takes an event at a time and can be closed."""

import contextlib
import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from imclass.app.runs.directory import Run
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.core.errors import UserError
from imclass.training.events import EpochStart, Event, summarise_evaluation


def event_record(event: Event) -> dict[str, Any]:
    """An event as one flat JSON object: its kind, where the run stood, then its own fields."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    own: dict[str, Any] = {}
    for f in fields(event):
        value = getattr(event, f.name)
        if isinstance(value, Evaluation):
            own |= summarise_evaluation(value) | {"refused": to_json(value.refused)}
        elif f.name == "measures":
            own |= value
        elif f.name != "at":
            own[f.name] = str(value) if isinstance(value, Path) else to_json(value)
    return {"event": kind, **to_json(event.at), **own}


class Log:
    """`log.jsonl`: one record an event, in order; each is handed to the system at once, so that a kill loses none."""

    def __init__(self, run: Run) -> None:
        self.path = run.log
        self.file = run.log.open("a", encoding="utf-8", buffering=1)

    @property
    def is_in_place(self) -> bool:
        """Whether the file that is written to is still the run's."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(self.path), os.fstat(self.file.fileno()))
        return False

    def see(self, event: Event) -> None:
        if not self.is_in_place:  # all that comes would be lost, or be in a place that nobody looks at
            raise UserError(
                f"{self.path} was moved or removed, so training stopped; put {self.path.parent} back as it was and "
                "give the same command again, or begin anew with another --out"
            )
        if isinstance(event, EpochStart) and event.at.batch > 0:
            return  # the epoch's start stands in the log already
        self.file.write(json.dumps(event_record(event)) + "\n")

    def close(self) -> None:
        self.file.close()
