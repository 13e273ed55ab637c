"""Pictures drawn by matplotlib, without pyplot.

Pictures are written atomically, and contain a mark by which imclass recognises them as its own.
"""

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
SOFTWARE_NAME = "imclass"  # the mark in our pictures; a picture without this mark is never replaced
# Fonts from Linux, macOS and Windows, for scripts that matplotlib's font lacks.
FONTS = ("Noto Sans CJK JP", "Arial Unicode MS", "Microsoft YaHei", "Malgun Gothic")


def is_our_picture(path: Path) -> bool:
    """Return whether a file is a picture drawn by imclass."""
    return has_mark(path, b"tEXtSoftware\0" + SOFTWARE_NAME.encode())


def import_matplotlib() -> None:
    """Import matplotlib regardless of the backend in the user's environment. Raise a `UserError` if the import fails.

    A notebook passes `MPLBACKEND` to the programs that it starts. Importing matplotlib would fail if that
    backend were not installed.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"no picture can be drawn, because matplotlib cannot be imported ({what}). Reinstall matplotlib"
        ) from None
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):  # restores the user's backend for other figures in this process
            matplotlib.rcParams["backend"] = backend


@contextlib.contextmanager
def quiet_matplotlib() -> Iterator[None]:
    """Silence matplotlib's warnings within the block. They concern the user's settings, which are not used here."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def open_figure(path: Path, inches: tuple[float, float]) -> Iterator[Any]:
    """Yield a matplotlib figure in the default style, and write it to `path` at the end of the block."""
    with quiet_matplotlib(), warnings.catch_warnings():
        import_matplotlib()
        import matplotlib.style
        from matplotlib import font_manager
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        installed = set(font_manager.get_font_names())
        fonts = {"font.family": ["sans-serif", *(font for font in FONTS if font in installed)]}
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a missing glyph is drawn as a box
        with matplotlib.style.context(["default", fonts]):
            figure = Figure(figsize=inches, dpi=120, layout="constrained")
            yield figure
            with atomic_writer(path) as file:
                FigureCanvasAgg(figure)
                figure.savefig(
                    file, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": SOFTWARE_NAME}
                )
