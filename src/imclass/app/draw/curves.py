"""Learning curves. `panels` returns what PNGs and reports both show; `curves_png` draws a PNG."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from imclass.app.draw.axis import PlotAxis, integer_axis, zero_based_axis
from imclass.app.draw.canvas import open_figure

SPLIT_COLOURS = {"train": "#3a6ea8", "validation": "#3f8a4a", "test": "#c2452d"}  # the report's colours on a light page
DOTS_LIMIT = 40  # epochs; longer curves have no dots


Rows: TypeAlias = Sequence[Mapping[str, Any]]
Point: TypeAlias = tuple[int | float, int | float]  # epoch and value


@dataclass(frozen=True)
class SplitCurve:
    """The values of one split over epochs."""

    split: str
    pieces: Sequence[Sequence[Point]]  # parts of the line, which breaks at values that are not finite
    dots: Sequence[Point]  # all points of a short line; otherwise only isolated points
    last: str  # "test 15.00%"


@dataclass(frozen=True)
class Panel:
    """The curves of one quantity: one for each split that has values."""

    title: str
    epochs: PlotAxis
    values: PlotAxis
    lines: Sequence[SplitCurve]


def panels(history: Rows, parts: Rows = ()) -> tuple[Panel, Panel]:
    """Return two panels: loss, and mean average precision (%) if the records have it, otherwise error (%).

    `history` has one record per epoch, with the keys `epoch`, `SPLIT_loss`, and `SPLIT_error` or `SPLIT_map` (in
    [0, 1]), where `SPLIT` is train, validation or test. The values of a split that was not evaluated in an epoch are
    absent or None. `parts` may contain such records for parts of epochs. If it does, the training curve is drawn from
    them.
    """
    what, name = ("map", "mean average precision (%)") if any(map(has_map, history)) else ("error", "error (%)")
    right = panel(history, parts, what, name, 100.0, "{} {:.2f}%")
    return panel(history, parts, "loss", "loss", 1.0, "{} {:.4f}"), right


def has_map(row: Mapping[str, Any]) -> bool:
    """Return whether a record has a mean average precision for any split."""
    return any(f"{split}_map" in row for split in SPLIT_COLOURS)


def panel(history: Rows, parts: Rows, what: str, title: str, scale: float, words: str) -> Panel:
    """Return the panel for one quantity. `words` is the format string for a split's name and last value."""
    lines = []
    for split in SPLIT_COLOURS:
        by_epoch, finer = (points(rows, f"{split}_{what}", scale) for rows in (history, parts))
        known = finer or by_epoch
        pieces = finite_pieces(known)
        all_dots = not finer and len(known) <= DOTS_LIMIT
        dots = [point for piece in pieces for point in piece if all_dots or len(piece) == 1]
        if known:
            last = words.format(split, (by_epoch or known)[-1][1])
            auxiliary = history[-1].get(f"{split}_auxiliary") if what == "loss" and history else None
            if auxiliary:
                last += f" (+ {auxiliary:.4f} auxiliary)"
            lines.append(SplitCurve(split, pieces, dots, last))
    highest = max((value for line in lines for piece in line.pieces for _, value in piece), default=1.0)
    return Panel(title, epochs_of(history, parts), zero_based_axis(highest), lines)


def points(rows: Rows, key: str, scale: float) -> list[Point]:
    """Return an (epoch, scaled value) point for each row that has `key`."""
    return [(row["epoch"], scale * row[key]) for row in rows if row.get(key) is not None]


def finite_pieces(known: Sequence[Point]) -> list[list[Point]]:
    """Return the parts of a curve, which breaks at values that are not finite."""
    runs = itertools.groupby(known, key=lambda point: math.isfinite(point[1]))
    return [list(piece) for finite, piece in runs if finite]


def epochs_of(history: Rows, parts: Rows) -> PlotAxis:
    """Return the epoch axis. If there are `parts`, it starts at 0 and includes an unfinished epoch."""
    epochs = [row["epoch"] for row in history] or [1]
    if not parts:
        return integer_axis(epochs[0], epochs[-1])
    return integer_axis(0, max(epochs[-1], math.ceil(parts[-1]["epoch"])))


def curves_png(history: Rows, path: Path, parts: Rows = ()) -> None:
    """Draw both panels side by side as a PNG. The legends show the last values."""
    with open_figure(path, (11.0, 4.2)) as figure:
        for axes, shown in zip(figure.subplots(1, 2), panels(history, parts), strict=True):
            x, y = shown.epochs, shown.values
            axes.set(xlabel="epoch", xlim=(x.low, x.high), ylim=(y.low, y.high))
            axes.set_title(shown.title, fontsize=11, loc="left")
            axes.set_xticks([*x.ticks], [*x.ticks.values()])
            axes.set_yticks([*y.ticks], [*y.ticks.values()])
            axes.grid(axis="y", alpha=0.4)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            for line in shown.lines:
                style = {"color": SPLIT_COLOURS[line.split], "linewidth": 1.4, "markersize": 3.5}
                for piece in line.pieces:
                    marker = "o" if piece[0] in line.dots else ""
                    axes.plot(*zip(*piece, strict=True), marker=marker, clip_on=False, **style)
                axes.plot([], label=line.last, **style)
            if shown.lines:
                axes.legend(title="last epoch", alignment="left", frameon=False)
