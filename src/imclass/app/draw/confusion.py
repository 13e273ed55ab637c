"""Confusion matrices. `matrix_view` returns what PNGs and reports both show; `confusion_png` draws a PNG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8
from PIL import ImageColor

from imclass.app.draw.axis import integer_axis
from imclass.app.draw.canvas import HIT_COLOUR, MISTAKE_COLOUR, open_figure
from imclass.core.text import percent, shorten_name, text_width

COUNTS_LIMIT = 15  # classes; cells of larger matrices have no counts
NAMES_LIMIT = 64  # classes; rows and columns of larger matrices have no names
CELLS = 250  # maximum rows and columns; more could not be distinguished
MAX_NAME_WIDTH = 24  # text columns; longer class names are shortened
SHORT_NAME_WIDTH = 4  # text columns; longer names do not fit above a column of counts
DARK_INK = 0.8  # counts on darker ink are white
EM = 0.62 / 72  # inches: character width at a font size of one point


@dataclass(frozen=True)
class MatrixView:
    """The contents of a picture of a confusion matrix. Rows are true classes, and columns are predicted classes."""

    title: str  # "97 of 100 correct (97.00%)"
    note: str  # the class order and the blocks; "" if rows and columns have names
    ink: Float[np.ndarray, "k k"]  # darkness of each cell, 0 to 1
    pixels: UInt8[np.ndarray, "k k 4"]  # cells as RGBA: correct blue, errors orange, with ink as opacity
    block: int  # classes per side of a cell
    counts: Sequence[Sequence[str]]  # text of each cell; empty for more than `COUNTS_LIMIT` classes
    labels: Mapping[int | float, str]  # for rows and columns, keyed by position from 1: names or round numbers
    turned: bool  # whether labels are too long to fit side by side above columns


def matrix_view(counts: Int64[np.ndarray, "K K"], classes: Sequence[str]) -> MatrixView:
    """Return the contents of a picture of a confusion matrix."""
    k, right, total = len(classes), int(counts.trace()), int(counts.sum())
    block = math.ceil(k / CELLS)
    note = "classes are numbered from 1 in the model's order" if k > NAMES_LIMIT else ""
    if block > 1:
        note += f"; each cell shows the largest fraction in a block of {block} x {block}"
    fits = SHORT_NAME_WIDTH if k <= COUNTS_LIMIT else 2
    amount = ink(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), block)
    hits = np.eye(len(amount), dtype=bool)[:, :, None]
    tones = np.where(hits, ImageColor.getrgb(HIT_COLOUR), ImageColor.getrgb(MISTAKE_COLOUR))
    return MatrixView(
        title=f"{right:,} of {total:,} correct ({percent(right / max(total, 1))})",
        note=note,
        ink=amount,
        pixels=np.dstack([tones, np.rint(255 * amount)]).astype(np.uint8),
        block=block,
        counts=[[f"{n:,}" if n else "" for n in row] for row in counts.tolist()] if k <= COUNTS_LIMIT else (),
        labels=dict(enumerate(classes, 1)) if k <= NAMES_LIMIT else integer_axis(1, k).ticks,
        turned=k <= NAMES_LIMIT and any(text_width(name) > fits for name in classes),
    )


def ink(shares: Float[np.ndarray, "K K"], block: int) -> Float[np.ndarray, "k k"]:
    """Return the darkness of each cell, from 0 (no images) to 1 (a class without errors, or the most frequent error).

    An error is fully dark only if its share of a class is at least 10%. Darkness is proportional to the square root of
    the share, so that rare errors stay visible. Each square of `block` x `block` shares becomes one cell, which shows
    the largest share.
    """
    padded = np.pad(shares, (0, -len(shares) % block))
    k = len(padded) // block
    shares = padded.reshape(k, block, k, block).max(axis=(1, 3))
    diagonal = np.eye(k, dtype=bool)
    worst = max(float(shares[~diagonal].max(initial=0)), 0.1)
    return np.sqrt(np.where(diagonal, shares, shares / worst))


def confusion_png(confusion: Int64[np.ndarray, "K K"], classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix as a PNG that is readable for any number of classes."""
    shown, k = matrix_view(confusion, classes), len(classes)
    cell = min(max(0.5, 3 / k), 9 / k)  # inches
    points = min(10.0, 54 * cell) if k <= NAMES_LIMIT else 8.0
    names = [shorten_name(name, MAX_NAME_WIDTH) for name in shown.labels.values()]
    room = max(map(text_width, names)) * points * EM
    with open_figure(path, (k * cell + room + 0.7, k * cell + (room if shown.turned else 0.2) + 0.9)) as figure:
        axes = figure.add_subplot()
        edge = len(shown.ink) * shown.block + 0.5
        axes.imshow(shown.pixels, interpolation="nearest", extent=(0.5, edge, edge, 0.5))
        axes.set_title(shown.title, fontsize=11)
        axes.set_xlabel(f"predicted class\n{shown.note}".strip())
        axes.set_ylabel("true class")
        for set_ticks, angle in ((axes.set_xticks, 90 if shown.turned else 0), (axes.set_yticks, 0)):
            set_ticks([*shown.labels], names, fontsize=points, parse_math=False, rotation=angle)
        axes.tick_params(length=0)
        points = min(10.0, 0.9 * cell / (EM * len(f"{confusion.max():,}")))
        for (i, j), count in np.ndenumerate(shown.counts):
            colour = "white" if shown.ink[i, j] > DARK_INK else "black"
            axes.text(j + 1, i + 1, count, ha="center", va="center", color=colour, fontsize=points)
