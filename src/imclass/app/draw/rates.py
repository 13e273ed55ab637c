"""The picture of a test of learning rates."""

from collections.abc import Sequence
from pathlib import Path

from imclass.app.draw.canvas import HIT_COLOUR, MISTAKE_COLOUR, open_figure

HEADROOM = 1.25  # the height of the picture, as a multiple of the highest smoothed loss before the lowest


def rates_png(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggested: float | None, path: Path
) -> None:
    """Draw the loss at each learning rate, and the smoothed loss, with marks at its lowest point and a suggested rate.

    The final rise of the loss may be cut off, because it would make the rest of the curve flat.
    """
    lowest = smoothed.index(min(smoothed))
    with open_figure(path, (7.0, 4.2)) as figure:
        axes = figure.subplots()
        axes.plot(rates, losses, color=HIT_COLOUR, alpha=0.35, linewidth=1, label="loss of a step")
        axes.plot(rates, smoothed, color=HIT_COLOUR, linewidth=1.8, label="smoothed")
        axes.plot(rates[lowest], smoothed[lowest], "o", color=HIT_COLOUR, label=f"lowest, at {rates[lowest]:.2g}")
        if suggested is not None:
            label = f"suggested, {suggested:g}"
            axes.axvline(suggested, color=MISTAKE_COLOUR, linewidth=1.4, linestyle="--", label=label)
        axes.set(xscale="log", xlabel="learning rate", ylim=(0, HEADROOM * max(smoothed[: lowest + 1])))
        axes.set_title("training loss while the learning rate rises", fontsize=11, loc="left")
        axes.grid(alpha=0.4)
        axes.tick_params(length=0, which="both")
        axes.spines[:].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
