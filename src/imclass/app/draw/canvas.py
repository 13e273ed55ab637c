"""The canvas of every picture: matplotlib without pyplot, saved whole, marked as ours."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imclass.core.errors import UserError
from imclass.core.files import atomic_writer, has_mark

HIT_COLOUR, MISTAKE_COLOUR = "#3a6ea8", "#d0601c"  # blue, orange; legible on light and dark pages
SOFTWARE_NAME = "imclass"  # what our pictures say of themselves, so that no others are replaced
# For scripts that matplotlib's own font lacks: what Linux, macOS and Windows come with.
FONTS = ("Noto Sans CJK JP", "Arial Unicode MS", "Microsoft YaHei", "Malgun Gothic")


def is_our_picture(path: Path) -> bool:
    """Whether a file is a picture that was drawn here."""
    return has_mark(path, b"tEXtSoftware\0" + SOFTWARE_NAME.encode())


def import_matplotlib() -> None:
    """Import matplotlib, whatever backend the user's environment names; raise `UserError` where it cannot be imported.

    A notebook hands `MPLBACKEND` on to what it starts, where that backend may not be installed: then the import fails.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"no picture can be drawn, because matplotlib cannot be imported ({what})") from None
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):  # for the user's own figures in this process
            matplotlib.rcParams["backend"] = backend


@contextlib.contextmanager
def quiet_matplotlib() -> Iterator[None]:
    """Keep matplotlib's log to errors for the time of a block: it warns of the user's settings, which are not used."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def open_figure(path: Path, inches: tuple[float, float]) -> Iterator[Any]:
    """A matplotlib figure in its default style, whatever the user's own; saved whole at `path` when it is finished."""
    with quiet_matplotlib(), warnings.catch_warnings():
        import_matplotlib()
        import matplotlib.style
        from matplotlib import font_manager
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        installed = set(font_manager.get_font_names())
        fonts = {"font.family": ["sans-serif", *(font for font in FONTS if font in installed)]}
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box is drawn for a script without a font
        with matplotlib.style.context(["default", fonts]):
            figure = Figure(figsize=inches, dpi=120, layout="constrained")
            yield figure
            with atomic_writer(path) as file:
                FigureCanvasAgg(figure)
                figure.savefig(
                    file, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": SOFTWARE_NAME}
                )
