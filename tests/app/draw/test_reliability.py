"""Reliability diagrams: the bars of accuracy, and the gaps to the confidence."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from imclass.app.draw.reliability import reliability_png
from imclass.evaluation.measures.calibration import Reliability, reliability
from tests.app.draw.support import figure_of


def draw_figure(bins: Reliability, path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """Draw a reliability diagram to `path` and return its figure."""
    figure = figure_of(lambda: reliability_png(bins, path), monkeypatch)
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG" and min(picture.size) > 300
    return figure


def test_bars_are_the_accuracies_and_gaps_reach_the_confidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 300)
    bins = reliability(random.normal(size=(300, 4)).astype(np.float32) * 2, labels)
    figure = draw_figure(bins, tmp_path / "reliability.png", monkeypatch)
    top, below = figure.axes
    bars, gaps = (list(container) for container in top.containers)  # type: ignore[call-overload]
    some = bins.counts > 0
    assert [bar.get_height() for bar in bars] == pytest.approx(bins.accuracy[some].tolist())
    assert [gap.get_y() + gap.get_height() for gap in gaps] == pytest.approx(bins.confidence[some].tolist())
    assert [bar.get_x() for bar in bars] == pytest.approx((np.arange(15) / 15)[some].tolist())
    shares = [bar.get_height() for bar in below.containers[0]]  # type: ignore[attr-defined]
    assert shares == pytest.approx((bins.counts / 300).tolist())
    assert top.get_title() == f"expected calibration error {100 * bins.error:.2f}%, 300 images"


def test_one_image_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bins = reliability(np.array([[0.0, 1e4]], np.float32), np.array([1]))
    assert "0.00%, 1 images" in draw_figure(bins, tmp_path / "one.png", monkeypatch).axes[0].get_title()
