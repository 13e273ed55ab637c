"""Pictures for people who would rather look than read: learning curves, confusion matrices, feature maps.

matplotlib is imported when a picture is drawn, never before, and without pyplot: no window, no state left behind.
"""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from PIL import Image, PngImagePlugin

from imclass.core.errors import UserError
from imclass.core.files import begins, replacing
from imclass.core.text import columns, shortened
from imclass.evaluation.measures.calibration import Reliability

CURVES = {"train": ("Train", "#1f77b4"), "validation": ("Validation", "#2ca02c"), "test": ("Test", "#d62728")}
NUMBERED = 15  # classes up to which each cell of a confusion matrix carries its count
NAMED = 64  # classes up to which each row and column carries its name
CELLS = 250  # rows and columns that can still be told apart
HIT, MISTAKE = (0.03, 0.27, 0.58), (0.85, 0.28, 0.0)  # blue, orange
WIDE = 480  # pixels: a grid of small maps is enlarged until it can be looked at
DRAWN_BY = "imclass"  # what our pictures say of themselves, so that no others are replaced
EM = 0.62 / 72  # inches: width of a character of one point
# For scripts that matplotlib's own font lacks: what Linux, macOS and Windows come with.
FONTS = ("Noto Sans CJK JP", "Arial Unicode MS", "Microsoft YaHei", "Malgun Gothic")


def is_drawn(path: Path) -> bool:
    """Whether a file is a picture that was drawn here."""
    return begins(path, b"tEXtSoftware\0" + DRAWN_BY.encode())


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


def reliability_png(bins: Reliability, path: Path) -> None:
    """Accuracy in each bin of confidence, against the diagonal of a calibrated model; below, how the images spread.

    Hatched is what lies between accuracy and mean confidence; these gaps, weighted by the bars below, are the error.
    """
    edges = np.linspace(0, 1, len(bins.counts) + 1)
    some, n = bins.counts > 0, int(bins.counts.sum())
    left, width = edges[:-1][some], 1 / len(bins.counts)
    accuracy, sure = bins.accuracy[some], bins.confidence[some]
    with drawing(path, (4.6, 5.6)) as figure:
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.bar(left, accuracy, width, align="edge", color=HIT, edgecolor="white", label="accuracy")
        gaps = {"color": "none", "edgecolor": MISTAKE, "hatch": "////", "linewidth": 0}
        top.bar(left, sure - accuracy, width, bottom=accuracy, align="edge", label="gap to mean confidence", **gaps)
        top.plot([0, 1], [0, 1], color="#444444", linewidth=1, linestyle="--")
        top.set_title(f"expected calibration error {100 * bins.error:.2f} %, {n:,} images", fontsize=11)
        top.set_ylabel("accuracy")
        top.set_ylim(0, 1)
        top.legend(loc="upper left", fontsize=9)
        below.bar(edges[:-1], bins.counts / max(1, n), width, align="edge", color="#888888", edgecolor="white")
        below.set_xlabel("confidence of the prediction")
        below.set_ylabel("share of images")
        below.set_xlim(0, 1)


def curves_png(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss and error (%) over epochs, side by side.

    A record an epoch: `epoch`, and `SPLIT_loss` and `SPLIT_error` (a share in [0, 1]) of the splits train, validation
    and test as far as they are known; a split that was not evaluated in an epoch is absent or None there.
    """
    epochs = [record["epoch"] for record in history] or [1]
    with drawing(path, (11.0, 4.2)) as figure:
        loss, error = figure.subplots(1, 2)
        for axes, what, scale in ((loss, "loss", 1.0), (error, "error", 100.0)):
            last = [text for split in CURVES if (text := draw_curve(axes, history, split, what, scale))]
            axes.set_title("last: " + " · ".join(last or ["none yet"]), fontsize=10, loc="left", color="#444444")
            axes.set_xlabel("epoch")
            axes.set_ylabel("loss (nats)" if what == "loss" else "error (%)")
            axes.set_ylim(bottom=0)
            axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            if last:
                axes.legend(frameon=False)


def draw_curve(axes: Any, history: Sequence[Mapping[str, Any]], split: str, what: str, scale: float) -> str:
    """One curve, dots where they can be told apart; returns its last value in words, or "" where there is none."""
    key, (name, colour) = f"{split}_{what}", CURVES[split]
    known = [(record["epoch"], scale * record[key]) for record in history if record.get(key) is not None]
    points = [(epoch, value if math.isfinite(value) else math.nan) for epoch, value in known]  # a gap where it diverged
    if not points:
        return ""
    dots = "o" if len(points) <= 40 else ""
    axes.plot(
        *zip(*points, strict=True), color=colour, label=f"{name} {what}", marker=dots, markersize=3.5, linewidth=1.4
    )
    value = points[-1][1]
    return f"{name.lower()} {value:.2f} %" if what == "error" else f"{name.lower()} {value:.4f}"


def grid(maps: Float[np.ndarray, "N H W *colours"]) -> UInt8[np.ndarray, "GH GW *colours"]:
    """Feature maps as one grey picture of ceil(sqrt(N)) tiles a side, with 1-pixel white right and bottom borders.

    One scale for all maps, from the smallest value (black) to the largest (white), so that they can be compared; maps
    of one constant value are black. Places without a map are white. A further axis, of filters on colours, is kept.
    """
    if maps.size == 0 or not np.isfinite(maps).all():
        what = "empty" if maps.size == 0 else "not finite (NaN or infinity)"
        raise UserError(
            f"feature maps of shape {' x '.join(map(str, maps.shape))} are {what}; there is no picture of them"
        )
    n, height, width, *colours = maps.shape
    side = math.isqrt(n - 1) + 1
    values = maps.astype(np.float64)
    values -= values.min()
    values /= values.max() or 1.0
    tiles = np.full((side, side, height + 1, width + 1, *colours), 255, np.uint8)
    tiles.reshape(-1, *tiles.shape[2:])[:n, :-1, :-1] = np.rint(255 * values)
    return tiles.swapaxes(1, 2).reshape(side * (height + 1), side * (width + 1), *colours)


def grid_png(maps: Float[np.ndarray, "N H W"], path: Path) -> None:
    """`grid` as a picture of at least `WIDE` pixels across: each value becomes a square of a whole number of pixels."""
    picture = grid(maps)
    times = math.ceil(WIDE / picture.shape[1])
    told = PngImagePlugin.PngInfo()
    told.add_text("Software", DRAWN_BY)
    with replacing(path) as file:
        Image.fromarray(picture.repeat(times, axis=0).repeat(times, axis=1)).save(file, "PNG", pnginfo=told)


@contextlib.contextmanager
def drawing(path: Path, inches: tuple[float, float]) -> Iterator[Any]:
    """A matplotlib figure in its default style, whatever the user's own; saved whole at `path` when it is finished."""
    import matplotlib.style
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    installed = set(font_manager.get_font_names())
    fonts = {"font.family": ["sans-serif", *(font for font in FONTS if font in installed)]}
    with matplotlib.style.context(["default", fonts]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box is drawn for a script without a font
        figure = Figure(figsize=inches, dpi=120, layout="constrained")
        yield figure
        with replacing(path) as file:
            FigureCanvasAgg(figure)
            figure.savefig(file, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": DRAWN_BY})
