"""The learning curves of a run, drawn periodically from its log."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imclass.app.runs.directory import Run
from imclass.training.events import EpochEnd, Event

MAX_SHARE = 0.05  # largest fraction of the time for drawing; each picture reads the whole log, which grows
POINTS = 60  # approximate number of points in the training curve; if there are more epochs, one point per epoch


class Curves:
    """A consumer that draws `curves.png` at intervals of at least `every` seconds, and at the end of the run."""

    def __init__(self, run: Run, every: float = 15.0) -> None:
        self.run, self.every, self.drawn = run, every, time.monotonic()
        self.took = 0.0  # seconds for the last picture

    def see(self, event: Event) -> None:
        """Draw the curves at the end of an epoch, if the last picture is old enough."""
        if isinstance(event, EpochEnd) and time.monotonic() - self.drawn > max(self.every, self.took / MAX_SHARE):
            self.draw()

    def close(self) -> None:
        """Draw the final curves."""
        self.draw()

    def draw(self) -> None:
        """Draw the curves from the log."""
        from imclass.app.draw.curves import curves_png  # imported here because matplotlib is slow to import

        began = time.monotonic()
        log = self.run.events()
        epochs, parts = epoch_rows(log), step_rows(log)
        if epochs or parts:
            curves_png(epochs, self.run.folder / "curves.png", parts)
            self.took = time.monotonic() - began
        self.drawn = time.monotonic()


def epoch_rows(log: Iterable[Mapping[str, Any]]) -> list[dict[str, int | float]]:
    """Return a row for each finished epoch in a log. Losses are in nats, and errors in [0, 1].

    For multi-label data, a row has the mean average precision of each held-out split instead of errors.
    """
    rows: dict[int, dict[str, int | float]] = {}
    done = set()
    for entry in log:
        if entry["event"] not in ("evaluated", "epoch_end"):
            continue
        if not entry["batch"]:  # an evaluation of a leg, not of an epoch
            continue
        row = rows.setdefault(entry["epoch"], {"epoch": entry["epoch"] + 1})
        name = "train" if entry["event"] == "epoch_end" else entry["split"]
        loss = entry["main"] if name == "train" else entry["loss"]
        row |= {f"{name}_loss": loss}
        row |= {f"{name}_error": 1 - entry["top1"]} if "top1" in entry else {}
        row |= {f"{name}_map": entry["map"]} if "map" in entry else {}
        if name == "train":
            done.add(entry["epoch"])
            row |= {"train_auxiliary": entry["total"] - loss} if entry["total"] != loss else {}
    return [rows[epoch] for epoch in sorted(done)]


def step_rows(log: Sequence[Mapping[str, Any]]) -> list[dict[str, int | float]]:
    """Return about `POINTS` rows of training loss and error.

    Each epoch is divided into equal parts, and each part has a row with the means over its images. A row's `epoch` is
    the middle of its part: 0.5 is halfway through the first epoch.
    """
    starts = [entry for entry in log if entry["event"] == "epoch_start"]
    sizes = {entry["epoch"]: entry["batches"] for entry in starts}
    errors = all(entry.get("counted", "top1") == "top1" for entry in starts)
    steps = [entry for entry in log if entry["event"] == "step_end" and entry["images"] and entry["epoch"] in sizes]
    epochs = 1 + max((entry["epoch"] for entry in steps), default=0)
    parts: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for step in steps:
        epoch, size = step["epoch"], sizes[step["epoch"]]
        count = min(size, -(-POINTS // epochs))  # number of parts in an epoch
        parts.setdefault((epoch, (step["batch"] - 1) * count // size), []).append(step)
    return [mean_row(part, sizes[epoch], errors) for (epoch, _), part in sorted(parts.items())]


def mean_row(steps: Sequence[Mapping[str, Any]], size: int, errors: bool) -> dict[str, int | float]:
    """Return the row for consecutive steps in an epoch with `size` steps. It has an error only if `errors` is true."""
    images = sum(step["images"] for step in steps)
    middle = (steps[0]["batch"] - 1 + steps[-1]["batch"]) / 2
    row = {
        "epoch": steps[0]["epoch"] + middle / size,
        "train_loss": sum(step["main"] * step["images"] for step in steps) / images,
    }
    if errors:
        row["train_error"] = 1 - sum(step["correct"] for step in steps) / images
    return row
