"""Figures of a report, in the page's own type and colours: learning curves as SVG, the confusion matrix."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int64

from imclass.app.draw.confusion import CELLS, NAMED, NUMBERED, ink
from imclass.app.draw.curves import CURVES
from imclass.app.report.markup import Html, element, name, picture, together
from imclass.core.text import columns

WIDTH, HEIGHT = 400, 270  # of a figure, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 30, 42  # margins around the curves
DOTTED = 40  # epochs up to which each is marked by a dot
NARROW = 3  # characters up to which a class name fits above its column
DARK = 0.55  # ink above which a cell's count is written in white
TONES = {True: (58, 110, 168), False: (208, 96, 28)}  # hits blue, mistakes orange; legible on light and dark pages

Points = Sequence[tuple[float, float]]


def curves(history: Sequence[Mapping[str, int | float]]) -> Html:
    """Loss and error over epochs, each a figure with its last values below it."""
    return element("div", panel(history, "loss", "nats", 1.0), panel(history, "error", "%", 100.0), class_="pair")


def panel(history: Sequence[Mapping[str, int | float]], what: str, unit: str, scale: float) -> Html:
    """One quantity of every split; what is not finite is a gap."""
    epochs = [float(row["epoch"]) for row in history]
    lines = {
        split: [(float(row["epoch"]), scale * row[f"{split}_{what}"]) for row in history if f"{split}_{what}" in row]
        for split in CURVES
    }
    known = [y for points in lines.values() for _, y in points if math.isfinite(y)]
    marks = ticks(max(known, default=1.0))
    place = Frame(min(epochs, default=1.0), max(epochs, default=1.0), marks[-1])
    drawn = [axes(place, marks, whole_ticks(epochs), f"{what} ({unit})")]
    drawn += [curve(place, split, points) for split, points in lines.items() if points]
    last = {split: points[-1][1] for split, points in lines.items() if points}
    keys = [
        element("span", f"{split} {value:.2f} %" if unit == "%" else f"{split} {value:.4f}", class_=f"key {split}")
        for split, value in last.items()
    ]
    says = f"{what} over epochs; at the end " + ", ".join(
        f"{split} {value:.4g} {unit}" for split, value in last.items()
    )
    image = element("svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=says)
    return element("figure", image, element("figcaption", "Last: ", together(keys, " "), class_="keys"))


class Frame:
    """Where an epoch and a value lie in a figure."""

    def __init__(self, first: float, last: float, top: float) -> None:
        self.first, self.span = (first, last - first) if last > first else (first - 0.5, 1.0)
        self.top = top

    def x(self, epoch: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (epoch - self.first) / self.span, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top, 1)


def ticks(highest: float, most: int = 6) -> list[float]:
    """Round numbers from 0 to beyond `highest`, at equal distances of 1, 2 or 5 times a power of ten."""
    step = (highest or 1.0) / most
    power = 10.0 ** math.floor(math.log10(step))
    step = next(round_ * power for round_ in (1, 2, 5, 10) if round_ * power >= step * (1 - 1e-9))
    return [i * step for i in range(math.ceil(highest / step - 1e-9) + 1)] if highest > 0 else [0.0, 1.0]


def whole_ticks(epochs: Sequence[float], most: int = 6) -> list[float]:
    """Epochs to be written below the axis."""
    if not epochs:
        return []
    first, last = min(epochs), max(epochs)
    if last - first < most:
        return sorted(set(epochs))
    step = max(1.0, ticks(last)[1])
    return [first, *(t for t in ticks(last) if first + step / 2 < t <= last)]


def axes(place: Frame, marks: Sequence[float], epochs: Sequence[float], says: str) -> Html:
    """Lines across the figure at round values, and what the axes mean."""
    right, below = str(WIDTH - RIGHT), str(HEIGHT - BOTTOM + 17)
    lines = [
        element("line", x1=str(LEFT), x2=right, y1=str(place.y(m)), y2=str(place.y(m)), class_="grid") for m in marks
    ]
    beside = [element("text", f"{m:.4g}", x=str(LEFT - 7), y=str(place.y(m) + 4), class_="end") for m in marks]
    under = [element("text", f"{e:g}", x=str(place.x(e)), y=below, class_="mid") for e in epochs]
    titles = [
        element("text", says, x="2", y="14", class_="what"),
        element("text", "epoch", x=right, y=str(HEIGHT - 5), class_="end what"),
    ]
    return together([*lines, *beside, *under, *titles])


def curve(place: Frame, split: str, points: Points) -> Html:
    """A line through the finite points, broken where there are others; dots where they can be told apart."""
    pieces: list[list[str]] = [[]]
    for epoch, value in points:
        if math.isfinite(value):
            pieces[-1].append(f"{place.x(epoch)},{place.y(value)}")
        else:
            pieces.append([])
    lines = [element("polyline", points=" ".join(piece), class_=split) for piece in pieces if len(piece) > 1]
    few = len(points) <= DOTTED
    dots = [p.split(",") for piece in pieces for p in piece if few or len(piece) == 1]
    return together([*lines, *(element("circle", cx=x, cy=y, r="3", class_=split) for x, y in dots)])


def matrix(counts: Int64[np.ndarray, "K K"], classes: Sequence[str]) -> Html:
    """The confusion matrix: with its counts where there are few classes, with names where there are some more."""
    k = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if k <= NUMBERED:
        return cells(counts, ink(shares, 1), classes)
    amount = ink(shares, math.ceil(k / CELLS))
    hits = np.eye(len(amount), dtype=bool)[:, :, None]
    tones = np.where(hits, TONES[True], TONES[False])
    pixels = np.concatenate([tones, np.rint(255 * amount[:, :, None])], axis=2).astype(np.uint8)
    image = picture(pixels, f"confusion matrix of {k:,} classes", "matrix")
    if k > NAMED:
        return element("div", image, class_="large")
    beside = element("ol", *(element("li", name(n, 24)) for n in classes))
    return element(
        "div", element("div", beside, image, class_="named", style=f"--k:{k}"), class_="scroll", tabindex="0"
    )


def cells(
    counts: Int64[np.ndarray, "K K"], amount: Float[np.ndarray, "K K"], classes: Sequence[str]
) -> Html:  # fmt: skip
    """A table of counts, each cell as dark as its share; columns have short names, or else the numbers of the rows."""
    narrow = all(columns(label) <= NARROW for label in classes)
    heads = [element("th", name(label) if narrow else str(i), scope="col") for i, label in enumerate(classes, 1)]
    rows = []
    for i, (label, row) in enumerate(zip(classes, counts.tolist(), strict=True)):
        number = Html() if narrow else element("i", str(i + 1))
        heading = element("th", number, name(label, 18), scope="row")
        rows.append(element("tr", heading, *(cell(n, float(amount[i, j]), i == j) for j, n in enumerate(row))))
    inside = element("tbody", *rows)
    head = element("thead", element("tr", element("td"), *heads))
    return element("div", element("table", head, inside, class_="matrix"), class_="scroll", tabindex="0")


def cell(count: int, amount: float, hit: bool) -> Html:
    """A cell with its count; an empty one for none."""
    if not count:
        return element("td")
    kind = ("hit" if hit else "miss") + " deep" * (amount > DARK)
    return element("td", f"{count:,}", class_=kind, style=f"--i:{100 * amount:.0f}%")
