"""A TensorBoard log of a run's scalars."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imclass.app.runs.directory import Run
from imclass.training.events import EpochEnd, Evaluated, Event, RunPosition, StepEnd


class TensorBoard:
    """A consumer that writes scalars for TensorBoard. Scalars that an earlier process wrote after `at` are purged.

    TensorBoard's own event writer is not used, because its thread ends with a traceback if the disk is full.
    """

    def __init__(self, run: Run, at: RunPosition) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = run.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        self.records = RecordWriter((folder / next_name(folder)).open("wb"))
        start = SessionLog(status=SessionLog.START)
        for event in (Event(file_version="brain.Event:2"), Event(step=at.step + 1, session_log=start)):
            self.write(event)

    def write(self, event: Any) -> None:
        """Write a TensorBoard event with the current time."""
        event.wall_time = time.time()
        self.records.write(event.SerializeToString())
        self.records.flush()

    def see(self, event: Event) -> None:
        """Write the scalars of an event."""
        match event:
            case StepEnd():
                more = {"train/total": event.total} if event.total != event.main else {}
                self.add(event.at.step, {"train/loss": event.main, "train/rate": event.rate, **more})
            case EpochEnd():
                self.add(event.at.step, {f"train/{name}": share for name, share in event.measures.items()})
            case Evaluated():
                result, split = event.result, event.split
                self.add(event.at.step, {f"{split}/{name}": result.measures[name] for name in (result.main, "loss")})

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the values of scalars at one step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self.write(Event(step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        self.records.close()


def next_name(folder: Path) -> str:
    """Return the name of a new file, which sorts after all existing files even if the clock was set back.

    TensorBoard reads files in the order of their names, and a file can purge only the records of earlier files.
    """
    earlier = [re.findall(r"tfevents\.(\d{10}\.\d{6})\.", path.name) for path in folder.iterdir()]
    latest = max((float(stamp) for stamps in earlier for stamp in stamps), default=0.0)
    return f"events.out.tfevents.{max(time.time(), latest + 1):.6f}.{os.getpid()}"
