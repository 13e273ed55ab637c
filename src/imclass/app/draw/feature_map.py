"""Maps of features: a point for each image, coloured by class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from imclass.app.draw.canvas import open_figure
from imclass.app.draw.confusion import MAX_NAME_WIDTH
from imclass.app.features.projection import Projection
from imclass.core.text import percent, shorten_name

COLOURS = (
    "#3a6ea8", "#f09a28", "#3f8a4a", "#8e5bb5", "#c2252d", "#2ab3c0", "#e27fc0", "#7d5a4a", "#a8b02c", "#303030",
)  # fmt: skip
MARKERS = "os^DvPX<>*"  # the first ten classes are discs, the next ten squares
MAX_LEGEND = 60  # classes; with more, the legend would be larger than the map
LEGEND_ROWS = 20
SIDE = 6.0  # inches


def feature_map_png(
    found: Projection, labels: Int64[np.ndarray, "n"] | None, classes: Sequence[str], path: Path, what: str
) -> None:
    """Draw a projection as a PNG. `what` names the features in the title.

    `labels` contains the class of each point, or is None if all points have the same colour. The points are drawn in a
    fixed random order, so that no class covers the others.
    """
    shown = [] if labels is None else np.unique(labels).tolist()
    columns = -(-len(shown) // LEGEND_ROWS) if len(shown) <= MAX_LEGEND else 0
    with open_figure(path, (SIDE + 1.9 * columns, SIDE)) as figure:
        axes = figure.add_subplot()
        axes.set_title(title_of(found, what, len(shown)), fontsize=11, loc="left", parse_math=False)
        axes.set_box_aspect(1)
        axes.set_xticks([])
        axes.set_yticks([])
        if found.shares:
            axes.set_xlabel(f"first principal component, {percent(found.shares[0])} of the variance")
            axes.set_ylabel(f"second principal component, {percent(found.shares[1])}")
        size = float(np.clip(20000 / len(found.points), 8, 36))
        style = {"s": size, "linewidths": 0.3, "edgecolors": "white", "alpha": 0.85}
        if labels is None:
            axes.scatter(*found.points.T, color=COLOURS[0], **style)
            return
        order = np.random.RandomState(0).permutation(len(labels))
        tenths = labels[order] // len(COLOURS) % len(MARKERS)
        for marker in np.unique(tenths).tolist():
            chosen = order[tenths == marker]
            colours = [COLOURS[label % len(COLOURS)] for label in labels[chosen].tolist()]
            axes.scatter(*found.points[chosen].T, c=colours, marker=MARKERS[marker], **style)
        if columns:
            add_legend(axes, shown, classes, columns)


def title_of(found: Projection, what: str, classes: int) -> str:
    """Return the title of a map: the features, the method, and the numbers of images and classes."""
    method = "principal components" if found.method == "pca" else "t-SNE"
    count = f"{found.total:,} images" if found.total == len(found.points) else ""
    count = count or f"{len(found.points):,} of {found.total:,} images"
    return f"{what}, {method}\n{count}" + (f", {classes:,} classes" if classes else "")


def add_legend(axes: Any, shown: Sequence[int], classes: Sequence[str], columns: int) -> None:
    """Add a legend to the right of the map, with the marker and name of each class that is shown."""
    for label in shown:
        marker, colour = MARKERS[label // len(COLOURS) % len(MARKERS)], COLOURS[label % len(COLOURS)]
        axes.plot([], [], marker, color=colour, markersize=6, label=label)
    legend = axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns, frameon=False, fontsize=9, handletextpad=0.2
    )
    for text, label in zip(legend.get_texts(), shown, strict=True):
        text.set_parse_math(False)
        text.set_text(shorten_name(classes[label], MAX_NAME_WIDTH))
