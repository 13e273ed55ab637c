"""Figures of a report, in the page's own type and colours: learning curves as SVG, the confusion matrix."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from imclass.app.draw.confusion import DARK, WIDEST, Matrix
from imclass.app.draw.curves import Line, Panel, panels
from imclass.app.report.markup import Html, element, name, picture, together

WIDTH, HEIGHT = 400, 270  # of a figure, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 30, 42  # margins around the curves


def curves(history: Sequence[Mapping[str, int | float]]) -> Html:
    """Return loss and error over epochs, each a figure with its last values below it."""
    return element("div", *map(figure, panels(history)), class_="pair")


def figure(shown: Panel) -> Html:
    """Return one panel."""
    keys = [element("span", line.last, class_=f"key {line.split}") for line in shown.lines]
    label = f"{shown.title} over epochs; last: {shown.last}"
    lines = (curve(shown, line) for line in shown.lines)
    image = element("svg", axes(shown), *lines, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
    caption = together(keys, " ") if keys else shown.last
    return element("figure", image, element("figcaption", "Last: ", caption, class_="keys"))


def place(shown: Panel, epoch: float, value: float) -> tuple[str, str]:
    """Return where an epoch and a value lie in a figure."""
    x = LEFT + (WIDTH - LEFT - RIGHT) * shown.epochs.share(epoch)
    y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * shown.values.share(value)
    return f"{x:.1f}", f"{y:.1f}"


def axes(shown: Panel) -> Html:
    """Return lines across the figure at the ticks of the values, all ticks' labels, and what the axes mean."""
    right, below = str(WIDTH - RIGHT), str(HEIGHT - BOTTOM + 17)
    parts = []
    for value, label in zip(shown.values.ticks, shown.values.labels, strict=True):
        _, y = place(shown, shown.epochs.low, value)
        parts.append(element("line", x1=str(LEFT), x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", label, x=str(LEFT - 7), y=y, dy="4", class_="end"))
    for epoch, label in zip(shown.epochs.ticks, shown.epochs.labels, strict=True):
        parts.append(element("text", label, x=place(shown, epoch, 0)[0], y=below, class_="mid"))
    parts.append(element("text", shown.title, x="2", y="14", class_="what"))
    parts.append(element("text", "epoch", x=right, y=str(HEIGHT - 5), class_="end what"))
    return together(parts)


def curve(shown: Panel, line: Line) -> Html:
    """Return a split's line, broken at gaps, and its dots."""
    pieces = (" ".join(",".join(place(shown, *point)) for point in piece) for piece in line.pieces if len(piece) > 1)
    dots = (place(shown, *point) for point in line.dots)
    lines = [element("polyline", points=piece, class_=line.split) for piece in pieces]
    return together([*lines, *(element("circle", cx=x, cy=y, r="3", class_=line.split) for x, y in dots)])


def confusion(shown: Matrix) -> Html:
    """Return a matrix: a table where it has counts, else an image between its labels."""
    if shown.note:
        return image(shown, "large")
    turned = " turned" if shown.turned else ""
    whole = counted(shown, f"matrix{turned}") if shown.counts else image(shown, f"named{turned}")
    return element("div", whole, class_="scroll", tabindex="0")


def image(shown: Matrix, kind: str) -> Html:
    """Return a matrix as an image, its labels above it and to its left."""
    labels = [(i, name(label, WIDEST)) for i, label in shown.labels.items()]
    above = element("ol", *(element("li", label, style=f"grid-column:{i}") for i, label in labels), class_="columns")
    left = element("ol", *(element("li", label, style=f"grid-row:{i}") for i, label in labels), class_="rows")
    pixels = picture(shown.pixels, f"confusion matrix: {shown.title}", "matrix")
    return element("div", above, left, pixels, class_=f"axes {kind}", style=f"--k:{len(shown.ink) * shown.block}")


def counted(shown: Matrix, kind: str) -> Html:
    """Return a matrix as a table of counts."""
    labels = [name(label, WIDEST) for label in shown.labels.values()]
    head = element("tr", element("td"), *(element("th", label, scope="col") for label in labels))
    rows = (
        element("tr", element("th", label, scope="row"), *cells(row, shown.ink[i], i))
        for i, (label, row) in enumerate(zip(labels, shown.counts, strict=True))
    )
    return element("table", element("thead", head), element("tbody", *rows), class_=kind)


def cells(counts: Sequence[str], ink: Float[np.ndarray, "k"], row: int) -> list[Html]:
    """Return the cells of a row, each as dark as it has ink."""
    found = []
    for i, (count, amount) in enumerate(zip(counts, ink.tolist(), strict=True)):
        kind = ("hit" if i == row else "miss") + (" deep" if amount > DARK else "")
        found.append(element("td", count, class_=kind, style=f"--i:{100 * amount:.0f}%") if count else element("td"))
    return found
