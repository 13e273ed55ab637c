"""Learning curves of a run, from its log; a consumer draws them now and then."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imclass.app.runs.directory import Run
from imclass.training.events import EpochEnd, Event

POINTS = 60  # of the training line, about; with so many epochs each is one


class Curves:
    """`curves.png`: loss and error over epochs, drawn from the log, now and then and at the end."""

    def __init__(self, run: Run, every: float = 15.0) -> None:
        self.run, self.every, self.drawn = run, every, time.monotonic()

    def see(self, event: Event) -> None:
        if isinstance(event, EpochEnd) and time.monotonic() - self.drawn > self.every:
            self.draw()

    def close(self) -> None:
        self.draw()

    def draw(self) -> None:
        from imclass.app.draw.curves import curves_png

        log = self.run.events()
        epochs, parts = epoch_rows(log), step_rows(log)
        if epochs or parts:
            curves_png(epochs, self.run.folder / "curves.png", parts)
        self.drawn = time.monotonic()


def epoch_rows(log: Iterable[Mapping[str, Any]]) -> list[dict[str, int | float]]:
    """Return a row for each finished epoch in the records of a log: losses in nats, errors in [0, 1].

    Of images that may have several labels there is no error; held-out splits have a mean average precision instead.
    """
    rows: dict[int, dict[str, int | float]] = {}
    done = set()
    for entry in log:
        if entry["event"] not in ("evaluated", "epoch_end") or not entry["batch"]:  # of an epoch, not of a leg
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
    """Return training loss and error by step: a row for each of the parts that all epochs are cut into alike.

    A row is the mean over its images and stands at the middle of its steps; epoch 0.5 is the middle of the first.
    """
    starts = [entry for entry in log if entry["event"] == "epoch_start"]
    sizes = {entry["epoch"]: entry["batches"] for entry in starts}
    errors = all(entry.get("counted", "top1") == "top1" for entry in starts)
    steps = [entry for entry in log if entry["event"] == "step_end" and entry["images"] and entry["epoch"] in sizes]
    epochs = 1 + max((entry["epoch"] for entry in steps), default=0)
    parts: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for step in steps:
        epoch, size = step["epoch"], sizes[step["epoch"]]
        some = min(size, -(-POINTS // epochs))
        parts.setdefault((epoch, (step["batch"] - 1) * some // size), []).append(step)
    return [mean_row(part, sizes[epoch], errors) for (epoch, _), part in sorted(parts.items())]


def mean_row(steps: Sequence[Mapping[str, Any]], size: int, errors: bool) -> dict[str, int | float]:
    """Return one row for consecutive steps of an epoch of `size` steps, with the error where that is wanted."""
    images = sum(step["images"] for step in steps)
    middle = (steps[0]["batch"] - 1 + steps[-1]["batch"]) / 2
    row = {
        "epoch": steps[0]["epoch"] + middle / size,
        "train_loss": sum(step["main"] * step["images"] for step in steps) / images,
    }
    return row | ({"train_error": 1 - sum(step["correct"] for step in steps) / images} if errors else {})
