"""Learning curves: what they show, worked out once for the PNG here and for the report."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.draw.axis import Axis, from_zero, of_integers
from imclass.app.draw.canvas import drawing

SPLITS = {"train": "#3a6ea8", "validation": "#3f8a4a", "test": "#c2452d"}  # the report's colours on a light page
DOTTED = 40  # epochs up to which each is marked by a dot


@dataclass(frozen=True)
class Line:
    """A split's values over epochs."""

    split: str
    points: tuple[tuple[int, float], ...]  # epoch and value; NaN is a gap
    last: str  # "test 15.00 %"

    @property
    def pieces(self) -> list[list[tuple[int, float]]]:
        """Return the points between gaps, each run of them to be joined by a line."""
        runs = itertools.groupby(self.points, key=lambda point: math.isfinite(point[1]))
        return [list(points) for finite, points in runs if finite]

    @property
    def dots(self) -> list[tuple[int, float]]:
        """Return the points to be marked: all where they can be told apart, else those that no line joins."""
        few = len(self.points) <= DOTTED
        return [point for piece in self.pieces for point in piece if few or len(piece) == 1]


@dataclass(frozen=True)
class Panel:
    """One quantity of every split that has it."""

    title: str
    epochs: Axis
    values: Axis
    lines: tuple[Line, ...]

    @property
    def last(self) -> str:
        return ", ".join(line.last for line in self.lines) or "none yet"


def panels(history: Sequence[Mapping[str, Any]]) -> tuple[Panel, Panel]:
    """Return the panels of loss and error (%).

    A record an epoch: `epoch`, and `SPLIT_loss` and `SPLIT_error` (a share in [0, 1]) of the splits train, validation
    and test as far as they are known; a split that was not evaluated in an epoch is absent or None there.
    """
    return (
        panel(history, "loss", "loss (nats)", 1.0, "{} {:.4f}"),
        panel(history, "error", "error (%)", 100.0, "{} {:.2f} %"),
    )


def panel(history: Sequence[Mapping[str, Any]], key: str, title: str, scale: float, words: str) -> Panel:
    """Return the panel of one quantity, whose last values are put in `words`."""
    lines = []
    for split in SPLITS:
        known = [(row["epoch"], row[f"{split}_{key}"]) for row in history if row.get(f"{split}_{key}") is not None]
        points = tuple((epoch, scale * value if math.isfinite(value) else math.nan) for epoch, value in known)
        if known:
            lines.append(Line(split, points, words.format(split, scale * known[-1][1])))
    epochs = [row["epoch"] for row in history] or [1]
    highest = max((value for line in lines for piece in line.pieces for _, value in piece), default=1.0)
    return Panel(title, of_integers(min(epochs), max(epochs)), from_zero(highest), tuple(lines))


def curves_png(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss and error (%) over epochs, next to each other."""
    with drawing(path, (11.0, 4.2)) as figure:
        for axes, shown in zip(figure.subplots(1, 2), panels(history), strict=True):
            draw_panel(axes, shown)


def draw_panel(axes: Any, shown: Panel) -> None:
    """Draw one panel; its legend gives the last values."""
    axes.set_title(shown.title, fontsize=11, loc="left")
    axes.set_xlabel("epoch")
    axes.set_xlim(shown.epochs.low, shown.epochs.high)
    axes.set_ylim(shown.values.low, shown.values.high)
    axes.set_xticks(shown.epochs.ticks, shown.epochs.labels)
    axes.set_yticks(shown.values.ticks, shown.values.labels)
    axes.grid(axis="y", alpha=0.4)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for line in shown.lines:
        colour = SPLITS[line.split]
        for piece in line.pieces:
            axes.plot(*zip(*piece, strict=True), color=colour, linewidth=1.4, clip_on=False)
        axes.scatter(*zip(*line.dots, strict=True), color=colour, s=12, clip_on=False) if line.dots else None
        axes.plot([], [], color=colour, label=line.last)
    if shown.lines:
        axes.legend(title="last", alignment="left", frameon=False)
