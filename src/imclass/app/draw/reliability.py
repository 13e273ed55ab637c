"""Reliability diagrams."""

from pathlib import Path

import numpy as np

from imclass.app.draw.canvas import HIT_COLOUR, MISTAKE_COLOUR, open_figure
from imclass.evaluation.measures.calibration import Reliability


def reliability_png(bins: Reliability, path: Path) -> None:
    """Draw two charts: the accuracy in each confidence bin and, below it, the fraction of images in each bin.

    A diagonal shows the accuracy of a perfectly calibrated model. The gaps between accuracy and mean confidence are
    hatched. Weighted by the fractions of images, the gaps add up to the calibration error.
    """
    edges = np.linspace(0, 1, len(bins.counts) + 1)
    some, n = bins.counts > 0, int(bins.counts.sum())
    left, width = edges[:-1][some], 1 / len(bins.counts)
    accuracy, sure = bins.accuracy[some], bins.confidence[some]
    with open_figure(path, (4.6, 5.6)) as figure:
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.bar(left, accuracy, width, align="edge", color=HIT_COLOUR, edgecolor="white", label="accuracy")
        gaps = {"color": "none", "edgecolor": MISTAKE_COLOUR, "hatch": "////", "linewidth": 0}
        top.bar(left, sure - accuracy, width, bottom=accuracy, align="edge", label="gap to mean confidence", **gaps)
        top.plot([0, 1], [0, 1], color="#444444", linewidth=1, linestyle="--")
        top.set_title(f"expected calibration error {100 * bins.error:.2f}%, {n:,} images", fontsize=11)
        top.set_ylabel("accuracy")
        top.set_ylim(0, 1)
        top.legend(loc="upper left", fontsize=9)
        below.bar(edges[:-1], bins.counts / max(1, n), width, align="edge", color="#888888", edgecolor="white")
        below.set_xlabel("confidence of the prediction")
        below.set_ylabel("fraction of images")
        below.set_xlim(0, 1)
