"""Consumers of a run's events: the log, TensorBoard, the curves. Each takes an event at a time and can be closed."""

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from imclass.app.run import Run, readable
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.training.events import At, EpochEnd, EpochStart, Evaluated, Event, StepEnd


def record(event: Event) -> dict[str, Any]:
    """An event as one flat JSON object: its kind, where the run stood, then its own fields."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    own: dict[str, Any] = {}
    for f in fields(event):
        value = getattr(event, f.name)
        if isinstance(value, Evaluation):
            own |= summary(value)
        elif f.name != "at":
            own[f.name] = str(value) if isinstance(value, Path) else to_json(value)
    return {"event": kind, **to_json(event.at), **own}


def summary(result: Evaluation) -> dict[str, Any]:
    """The numbers of an evaluation that a log and a model file keep."""
    return {
        "top1": result.top1,
        "top5": result.top5,
        "loss": result.loss,
        "evaluated": len(result.labels),
        "refused": to_json(result.refused),
        "total": result.total,
    }


class Log:
    """`log.jsonl`: one record an event, in order; each is handed to the system at once, so that a kill loses none."""

    def __init__(self, run: Run) -> None:
        self.file = run.log.open("a", encoding="utf-8", buffering=1)

    def see(self, event: Event) -> None:
        if isinstance(event, EpochStart) and event.at.batch > 0:
            return  # the epoch's start stands in the log already
        self.file.write(json.dumps(record(event)) + "\n")

    def close(self) -> None:
        self.file.close()


class TensorBoard:
    """Scalars for TensorBoard; what an earlier process wrote beyond the checkpoint is purged.

    Records are written here and now: TensorBoard's own writer does it in a thread, and a full disk ends that thread
    with a traceback.
    """

    def __init__(self, run: Run, at: At) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = run.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        now = time.time()  # in the name, for files are read in the order of their names
        self.records = RecordWriter((folder / f"events.out.tfevents.{now:.6f}.{os.getpid()}").open("wb"))
        start = SessionLog(status=SessionLog.START)
        for event in (Event(file_version="brain.Event:2"), Event(step=at.step + 1, session_log=start)):
            self.write(event)

    def write(self, event: Any) -> None:
        """One protocol buffer, with the time."""
        event.wall_time = time.time()
        self.records.write(event.SerializeToString())
        self.records.flush()

    def see(self, event: Event) -> None:
        match event:
            case StepEnd():
                self.add(event.at.step, {"train/loss": event.loss, "train/rate": event.rate})
            case EpochEnd():
                self.add(event.at.step, {"train/top1": event.top1})
            case Evaluated():
                result, split = event.result, event.split
                self.add(event.at.step, {f"{split}/top1": result.top1, f"{split}/loss": result.loss})

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Points of several curves."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self.write(Event(step=step, summary=Summary(value=values)))

    def close(self) -> None:
        self.records.close()


class Curves:
    """`curves.png`: loss and error over epochs, drawn from the log, now and then and at the end.

    A full disk costs the picture and not the run: the log says the same.
    """

    def __init__(self, run: Run, every: float = 15.0) -> None:
        self.run, self.every, self.drawn = run, every, time.monotonic()

    def see(self, event: Event) -> None:
        if isinstance(event, EpochEnd) and time.monotonic() - self.drawn > self.every:
            self.draw()

    def close(self) -> None:
        self.draw()

    def draw(self) -> None:
        from imclass.app.plots import curves_png

        points = history(self.run)
        if points:
            with contextlib.suppress(OSError):
                curves_png(points, self.run.folder / "curves.png")
        self.drawn = time.monotonic()


def history(run: Run) -> list[dict[str, int | float]]:
    """A row for each finished epoch of a run, from its log: losses in nats, errors in [0, 1]."""
    rows: dict[int, dict[str, int | float]] = {}
    done = set()
    for line in readable(run.log) if run.log.is_file() else []:
        entry: Mapping[str, Any] = json.loads(line)
        if entry["event"] not in ("evaluated", "epoch_end"):
            continue
        row = rows.setdefault(entry["epoch"], {"epoch": entry["epoch"] + 1})
        name = "train" if entry["event"] == "epoch_end" else entry["split"]
        row |= {f"{name}_loss": entry["loss"], f"{name}_error": 1 - entry["top1"]}
        done |= {entry["epoch"]} if name == "train" else set()
    return [rows[epoch] for epoch in sorted(done)]
