"""A helper that the tests of pictures share."""

from collections.abc import Callable

import pytest
from matplotlib.figure import Figure


def figure_of(draw: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Figure:
    """Return the figure that `draw` saves."""
    seen: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *given: object, **named: object) -> None:
        seen.append(figure)
        save(figure, *given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", keep)
        draw()
    (figure,) = seen
    return figure
