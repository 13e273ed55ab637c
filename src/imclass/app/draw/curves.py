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
    pieces: Sequence[Sequence[tuple[int, float]]]  # epochs and values; between pieces are values that are not finite
    dots: Sequence[tuple[int, float]]  # all where they can be told apart, else those that no line joins
    last: str  # "test 15.00 %"


@dataclass(frozen=True)
class Panel:
    """One quantity of every split that has it."""

    title: str
    epochs: Axis
    values: Axis
    lines: Sequence[Line]


def panels(history: Sequence[Mapping[str, Any]]) -> tuple[Panel, Panel]:
    """Return the panels of loss and error (%).

    A record an epoch: `epoch`, and `SPLIT_loss` and `SPLIT_error` (a share in [0, 1]) of the splits train, validation
    and test as far as they are known; a split that was not evaluated in an epoch is absent or None there.
    """
    error = panel(history, "error", "error (%)", 100.0, "{} {:.2f} %")
    return panel(history, "loss", "loss (nats)", 1.0, "{} {:.4f}"), error


def panel(history: Sequence[Mapping[str, Any]], what: str, title: str, scale: float, words: str) -> Panel:
    """Return the panel of one quantity, whose last values are put in `words`."""
    lines = []
    for split in SPLITS:
        values = [(row["epoch"], row.get(f"{split}_{what}")) for row in history]
        known = [(epoch, scale * value) for epoch, value in values if value is not None]
        runs = itertools.groupby(known, key=lambda point: math.isfinite(point[1]))
        pieces = [list(points) for finite, points in runs if finite]
        dots = [point for piece in pieces for point in piece if len(known) <= DOTTED or len(piece) == 1]
        if known:
            lines.append(Line(split, pieces, dots, words.format(split, known[-1][1])))
    epochs = [row["epoch"] for row in history] or [1]
    highest = max((value for line in lines for piece in line.pieces for _, value in piece), default=1.0)
    return Panel(title, of_integers(min(epochs), max(epochs)), from_zero(highest), lines)


def curves_png(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss and error (%) over epochs, next to each other; the legends give the last values."""
    with drawing(path, (11.0, 4.2)) as figure:
        for axes, shown in zip(figure.subplots(1, 2), panels(history), strict=True):
            x, y = shown.epochs, shown.values
            axes.set(xlabel="epoch", xlim=(x.low, x.high), ylim=(y.low, y.high))
            axes.set_title(shown.title, fontsize=11, loc="left")
            axes.set_xticks([*x.ticks], [*x.ticks.values()])
            axes.set_yticks([*y.ticks], [*y.ticks.values()])
            axes.grid(axis="y", alpha=0.4)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            for line in shown.lines:
                style = {"color": SPLITS[line.split], "linewidth": 1.4, "markersize": 3.5}
                for piece in line.pieces:
                    marker = "o" if piece[0] in line.dots else ""
                    axes.plot(*zip(*piece, strict=True), marker=marker, clip_on=False, **style)
                axes.plot([], label=line.last, **style)
            if shown.lines:
                axes.legend(title="last", alignment="left", frameon=False)
