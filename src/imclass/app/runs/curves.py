"""Learning curves of a run, from its log; a consumer draws them now and then."""

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

from imclass.app.runs.directory import Run, readable
from imclass.training.events import EpochEnd, Event


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
        from imclass.app.draw.curves import curves_png

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
