"""A report's figures, in the page's fonts and colours: learning curves as SVG, and the confusion matrix."""

# Tested in tests/app/report/test_page.py

from imclass.app.draw.confusion import DARK_INK, MAX_NAME_WIDTH, MatrixView
from imclass.app.draw.curves import Panel, SplitCurve
from imclass.app.report.markup import Html, element, image_element, join_html, name_element

FIGURE_WIDTH, FIGURE_HEIGHT = 400, 270  # in SVG units
VIEW_BOX = f"0 0 {FIGURE_WIDTH} {FIGURE_HEIGHT}"
LEFT, RIGHT, TOP, BOTTOM = 44, 388, 30, 228  # ends of the axes


def panel_figure(shown: Panel) -> Html:
    """Return a panel as a figure, with the values of the last epoch below the chart."""
    keys = (element("span", line.last, class_=f"key {line.split}") for line in shown.lines)
    label = f"{shown.title} over epochs; last epoch: " + ", ".join(line.last for line in shown.lines)
    lines = (curve(shown, line) for line in shown.lines)
    image = element("svg", axes(shown), *lines, viewBox=VIEW_BOX, role="img", aria_label=label)
    return element("figure", image, element("figcaption", "Last epoch: ", join_html(keys, " "), class_="keys"))


def place(shown: Panel, epoch: int | float, value: int | float) -> tuple[str, str]:
    """Return the x and y coordinates of an epoch and a value in a figure."""
    return shown.epochs.place(epoch, LEFT, RIGHT), shown.values.place(value, BOTTOM, TOP)


def axes(shown: Panel) -> Html:
    """Return grid lines at the ticks of the value axis, the labels of all ticks, and the titles of both axes."""
    right, parts = str(RIGHT), []
    for value, label in shown.values.ticks.items():
        _, y = place(shown, shown.epochs.low, value)
        parts.append(element("line", x1=str(LEFT), x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", label, x=str(LEFT - 7), y=y, dy="4", class_="end"))
    for epoch, label in shown.epochs.ticks.items():
        parts.append(element("text", label, x=place(shown, epoch, 0)[0], y=str(BOTTOM + 17), class_="mid"))
    parts.append(element("text", shown.title, x="2", y="14", class_="what"))
    return join_html([*parts, element("text", "epoch", x=right, y=str(FIGURE_HEIGHT - 5), class_="end what")])


def curve(shown: Panel, line: SplitCurve) -> Html:
    """Return a split's curve: a line that is broken at gaps, and dots."""
    # A piece with a single point is drawn only as a dot.
    pieces = (" ".join(",".join(place(shown, *point)) for point in piece) for piece in line.pieces if len(piece) > 1)
    dots = (place(shown, *point) for point in line.dots)
    lines = [element("polyline", points=piece, class_=line.split) for piece in pieces]
    return join_html([*lines, *(element("circle", cx=x, cy=y, r="3", class_=line.split) for x, y in dots)])


def confusion_figure(shown: MatrixView) -> Html:
    """Return a confusion matrix: a table if it has counts, otherwise an image with labels above it and to its left."""
    if shown.note:
        return matrix_image(shown, "large")
    turned = " turned" if shown.turned else ""
    matrix = matrix_counts_table(shown, f"matrix{turned}") if shown.counts else matrix_image(shown, f"named{turned}")
    return element("div", matrix, class_="scroll", tabindex="0")


def matrix_image(shown: MatrixView, kind: str) -> Html:
    """Return a confusion matrix as an image, with labels above it and to its left."""
    labels = [(i, name_element(label, MAX_NAME_WIDTH)) for i, label in shown.labels.items()]
    above = element("ol", *(element("li", label, style=f"grid-column:{i}") for i, label in labels), class_="columns")
    left = element("ol", *(element("li", label, style=f"grid-row:{i}") for i, label in labels), class_="rows")
    pixels = image_element(shown.pixels, f"confusion matrix: {shown.title}", "matrix")
    return element("div", above, left, pixels, class_=f"axes {kind}", style=f"--k:{len(shown.ink) * shown.block}")


def matrix_counts_table(shown: MatrixView, kind: str) -> Html:
    """Return a confusion matrix as a table of counts."""
    labels = [name_element(label, MAX_NAME_WIDTH) for label in shown.labels.values()]
    head = element("tr", element("td"), *(element("th", label, scope="col") for label in labels))
    rows = []
    for i, (label, row) in enumerate(zip(labels, shown.counts, strict=True)):
        cells = (matrix_cell(count, float(shown.ink[i, j]), i == j) for j, count in enumerate(row))
        rows.append(element("tr", element("th", label, scope="row"), *cells))
    return element("table", element("thead", head), element("tbody", *rows), class_=kind)


def matrix_cell(count: str, ink: float, hit: bool) -> Html:
    """Return a table cell with a count, shaded according to `ink`. If `count` is empty, so is the cell."""
    if not count:
        return element("td")
    kind = "hit" if hit else "miss"
    if ink > DARK_INK:
        kind += " deep"  # dark enough for white text
    return element("td", count, class_=kind, style=f"--i:{100 * ink:.0f}%")
