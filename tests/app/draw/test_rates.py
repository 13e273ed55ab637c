"""The picture of a test of learning rates has both curves and both marks."""

from pathlib import Path

import numpy as np
import pytest

from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.rates import rates_png
from tests.app.draw.support import figure_of


@pytest.mark.parametrize("suggested", [0.01, None])
def test_the_picture_has_both_curves_and_the_marks(
    suggested: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, smoothed = tmp_path / "rates.png", [2.0, 1.0, 0.5, 900.0]
    losses = [2.0, 0.5, 0.4, 1e9]
    (axes,) = figure_of(lambda: rates_png([1e-3, 1e-2, 0.1, 1.0], losses, smoothed, suggested, path), monkeypatch).axes
    assert is_our_picture(path)
    assert axes.get_xscale() == "log" and axes.get_ylim() == (0, 2.5)  # the final rise is cut off
    legend = axes.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    marks = ["suggested, 0.01"] if suggested else []
    assert labels == ["loss of a step", "smoothed", "lowest, at 0.1", *marks]
    assert np.array_equal(axes.lines[1].get_ydata(), smoothed)
