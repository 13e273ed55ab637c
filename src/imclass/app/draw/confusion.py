"""Pictures for people who would rather look than read: learning curves, confusion matrices, feature maps.

matplotlib is imported when a picture is drawn, never before, and without pyplot: no window, no state left behind.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from imclass.app.draw.canvas import HIT, MISTAKE, drawing
from imclass.core.text import columns, shortened

NUMBERED = 15  # classes up to which each cell of a confusion matrix carries its count
NAMED = 64  # classes up to which each row and column carries its name
CELLS = 250  # rows and columns that can still be told apart
EM = 0.62 / 72  # inches: width of a character of one point


def confusion_png(confusion: Int64[np.ndarray, "K K"], classes: Sequence[str], path: Path) -> None:
    """A confusion matrix: rows true, columns predicted, shaded by the share of the row; hits blue, mistakes orange.

    Up to 15 classes have their counts written in, up to 64 their names beside it; more are numbered from 1, and above
    250 a cell stands for a block of neighbours and shows the largest share in it.
    """
    k, hits, total = len(classes), int(confusion.trace()), int(confusion.sum())
    names = [shortened(name, 24) for name in classes] if k <= NAMED else []
    cell = min(max(0.5, 3 / k), 9 / k)  # inches
    points = min(10.0, 54 * cell)
    room = max(map(columns, names), default=6) * points * EM
    with drawing(path, (k * cell + room + 0.7, k * cell + (room if room > cell else 0.2) + 0.9)) as figure:
        axes = figure.add_subplot()
        block = math.ceil(k / CELLS)
        colours = shaded(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1), block)
        edge = len(colours) * block + 0.5
        axes.imshow(colours, interpolation="nearest", extent=(0.5, edge, edge, 0.5))
        axes.set_title(f"{hits:,} of {total:,} right ({100 * hits / max(total, 1):.2f} %)", fontsize=11)
        numbered = "" if names else ", numbered from 1 in the model's order"
        axes.set_xlabel(f"predicted class{numbered}")
        axes.set_ylabel(f"true class{numbered}")
        if names:
            turned = {"rotation": 90} if room > cell else {}
            axes.set_xticks(range(1, k + 1), names, fontsize=points, parse_math=False, **turned)
            axes.set_yticks(range(1, k + 1), names, fontsize=points, parse_math=False)
            axes.tick_params(length=0)
        if k <= NUMBERED:
            write_counts(axes, confusion, colours, cell)


def shaded(shares: Float[np.ndarray, "K K"], block: int) -> Float[np.ndarray, "k k 3"]:
    """White for none, full blue for a row all right, full orange for the worst mistake; as `ink` says."""
    amount = ink(shares, block)[:, :, None]
    return 1 - amount * (1 - np.where(np.eye(len(amount), dtype=bool)[:, :, None], HIT, MISTAKE))


def ink(shares: Float[np.ndarray, "K K"], block: int) -> Float[np.ndarray, "k k"]:
    """How dark each cell is: 0 for none, 1 for a row all right and for the worst mistake (for 10 % if all are rarer).

    It grows with the square root of the share, which keeps rare mistakes visible. `block` rows and columns at a time
    become one cell.
    """
    padded = np.pad(shares, (0, -len(shares) % block))
    k = len(padded) // block
    shares = padded.reshape(k, block, k, block).max(axis=(1, 3))
    diagonal = np.eye(k, dtype=bool)
    worst = max(float(shares[~diagonal].max(initial=0)), 0.1)
    return np.sqrt(np.where(diagonal, shares, shares / worst))


def write_counts(
    axes: Any, confusion: Int64[np.ndarray, "K K"], colours: Float[np.ndarray, "K K 3"], cell: float
) -> None:
    """The count in each cell that has one, white on dark, small enough for a cell of so many inches."""
    points = min(10.0, 0.9 * cell / (EM * len(f"{confusion.max():,}")))
    for (true, predicted), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if colours[true, predicted] @ (0.3, 0.59, 0.11) < 0.6 else "black"
            text = f"{count:,}"
            axes.text(predicted + 1, true + 1, text, ha="center", va="center", color=colour, fontsize=points)
