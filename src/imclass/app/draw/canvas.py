"""The canvas of every picture: matplotlib without pyplot, saved whole, marked as ours."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imclass.core.files import begins, replacing

HIT, MISTAKE = "#3a6ea8", "#d0601c"  # blue, orange; legible on light and dark pages
DRAWN_BY = "imclass"  # what our pictures say of themselves, so that no others are replaced
# For scripts that matplotlib's own font lacks: what Linux, macOS and Windows come with.
FONTS = ("Noto Sans CJK JP", "Arial Unicode MS", "Microsoft YaHei", "Malgun Gothic")


def is_drawn(path: Path) -> bool:
    """Whether a file is a picture that was drawn here."""
    return begins(path, b"tEXtSoftware\0" + DRAWN_BY.encode())


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
