"""Learning curves as a PNG."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imclass.app.draw.canvas import drawing

CURVES = {"train": ("Train", "#1f77b4"), "validation": ("Validation", "#2ca02c"), "test": ("Test", "#d62728")}


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
