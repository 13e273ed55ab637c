"""The picture of a benchmark: accuracy against training time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.draw.canvas import HIT_COLOUR, MISTAKE_COLOUR, open_figure

INCHES = (8.0, 5.4)
AXES_POINTS = (500.0, 320.0)  # approximate width and height of the axes in points, 72 to the inch
LABEL_SIZE = 9.0  # points
LINE_HEIGHT = 1.3  # of a label's size
LABEL_GAP = 9.0  # points between the centre of a dot and its label
MARGIN = 0.06  # of the axis, below and above all intervals
TIME_MARGIN = 1.6  # factor before the shortest and after the longest time
COLOURS = (("network", HIT_COLOUR), ("pipeline", MISTAKE_COLOUR))
SECONDS, MINUTES, HOURS, DAYS = 1, 60, 3600, 86_400
DURATIONS = (
    *((n * SECONDS, f"{n} s") for n in (1, 2, 5, 10, 20)),
    *((n * MINUTES, f"{n} min") for n in (0.5, 1, 2, 5, 10, 20)),
    *((n * HOURS, f"{n} h") for n in (0.5, 1, 2, 5, 10)),
    *((n * DAYS, f"{n} d") for n in (1, 2, 5, 10)),
)


@dataclass(frozen=True)
class Place:
    """The result of an entry: a share in [0, 1], its interval if there is one, and the training time in seconds."""

    name: str
    share: float
    interval: tuple[float, float] | None
    seconds: float
    kind: str  # "network" or "pipeline"

    @property
    def low(self) -> float:
        """Return the lower end of the interval in percent."""
        return 100 * (self.interval[0] if self.interval else self.share)

    @property
    def high(self) -> float:
        """Return the upper end of the interval in percent."""
        return 100 * (self.interval[1] if self.interval else self.share)


def benchmark_png(places: Sequence[Place], title: str, path: Path) -> None:
    """Draw the share of each entry over its training time, with its interval as a bar and its name next to it.

    `title` is the name of the measure. There must be at least one place.
    """
    low, high = min(place.low for place in places), max(place.high for place in places)
    margin = MARGIN * max(high - low, 1.0)
    shares = (low - margin, high + margin)
    times = [place.seconds for place in places]
    seconds = (min(times) / TIME_MARGIN, max(times) * TIME_MARGIN)
    with open_figure(path, INCHES) as figure:
        axes = figure.subplots()
        for kind, colour in COLOURS:
            found = [place for place in places if place.kind == kind]
            if found:
                draw_places(axes, found, colour, kind)
        ticks = [(at, text) for at, text in DURATIONS if seconds[0] <= at <= seconds[1]]
        intervals = ", with 95% intervals" if any(place.interval for place in places) else ""
        axes.set(xscale="log", xlim=seconds, ylim=shares, xlabel="training time", ylabel=f"{title} (%)")
        axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
        axes.set_xticks([], minor=True)
        axes.set_title(f"{title} and training time{intervals}", fontsize=11, loc="left")
        axes.grid(alpha=0.4)
        axes.tick_params(length=0, which="both")
        axes.spines[:].set_visible(False)
        axes.legend(frameon=False, fontsize=LABEL_SIZE, loc="lower right")
        write_names(axes, places, seconds, shares)


def draw_places(axes: Any, places: Sequence[Place], colour: str, kind: str) -> None:
    """Draw the dots and intervals of the entries of one kind."""
    x, y = [place.seconds for place in places], [100 * place.share for place in places]
    below = [max(0.0, 100 * place.share - place.low) for place in places]  # rounding may give -1e-14
    above = [max(0.0, place.high - 100 * place.share) for place in places]
    bars = {"capsize": 3, "elinewidth": 1, "markersize": 6}
    axes.errorbar(x, y, yerr=[below, above], fmt="o", color=colour, label=kind, **bars)


def write_names(axes: Any, places: Sequence[Place], seconds: tuple[float, float], shares: tuple[float, float]) -> None:
    """Write the name of each entry next to its dot: on the left in the right half, and on the right in the left half.

    Names that would overlap are moved up or down, and a line then connects a name with its dot.
    """
    wide, tall = AXES_POINTS
    extents, centres = [], []
    for place in places:
        x = wide * math.log(place.seconds / seconds[0]) / math.log(seconds[1] / seconds[0])
        length = LABEL_GAP + 0.6 * LABEL_SIZE * len(place.name)
        extents.append((x - length, x) if x > wide / 2 else (x, x + length))
        centres.append(tall * (100 * place.share - shares[0]) / (shares[1] - shares[0]))
    heights = spread_labels(extents, centres, LINE_HEIGHT * LABEL_SIZE)
    colours = dict(COLOURS)
    for place, (left, _), centre, height in zip(places, extents, centres, heights, strict=True):
        x = wide * math.log(place.seconds / seconds[0]) / math.log(seconds[1] / seconds[0])
        side = -1 if left < x else 1
        moved = abs(height - centre) > LABEL_SIZE / 2
        line = {"arrowstyle": "-", "color": colours[place.kind], "linewidth": 0.5, "alpha": 0.6} if moved else None
        axes.annotate(
            place.name,
            (place.seconds, 100 * place.share),
            xytext=(side * (LABEL_GAP + 5 * moved), height - centre),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            va="center",
            fontsize=LABEL_SIZE,
            arrowprops=line,
        )


def spread_labels(extents: Sequence[tuple[float, float]], centres: Sequence[float], gap: float) -> list[float]:
    """Return heights near the `centres`, so that labels whose horizontal `extents` overlap are at least `gap` apart.

    Labels that overlap directly, or through others, keep their order, and their heights have the smallest sum of
    squared distances from the centres.
    """
    heights = list(centres)
    groups: list[list[int]] = []
    end = -math.inf
    for i in sorted(range(len(extents)), key=lambda i: extents[i]):
        if extents[i][0] >= end:
            groups.append([])
        groups[-1].append(i)
        end = max(end, extents[i][1])
    for group in groups:
        group.sort(key=lambda i: centres[i])
        blocks: list[list[float]] = []  # the mean and the size of each block of equal values
        for n, i in enumerate(group):
            blocks.append([centres[i] - n * gap, 1])
            while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
                mean, size = blocks.pop()
                total = blocks[-1][1] + size
                blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * size) / total, total]
        values = [mean for mean, size in blocks for _ in range(int(size))]
        for n, (i, value) in enumerate(zip(group, values, strict=True)):
            heights[i] = value + n * gap
    return heights
