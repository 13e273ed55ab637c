"""The picture of a benchmark has a dot, an interval and a name for each entry, and names do not overlap."""

from pathlib import Path

import numpy as np
import pytest

from imclass.app.draw.benchmark import Place, benchmark_png, spread_labels
from imclass.app.draw.canvas import is_our_picture
from tests.app.draw.support import figure_of

PLACES = (
    Place("fisher", 0.83, (0.80, 0.86), 540.0, "pipeline"),
    Place("folder", 0.82, (0.79, 0.85), 560.0, "network"),
    Place("lenet", 0.55, (0.51, 0.59), 60.0, "network"),
)


def test_the_picture_has_dots_intervals_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "benchmark.png"
    (axes,) = figure_of(lambda: benchmark_png(PLACES, "top-1", path), monkeypatch).axes
    assert is_our_picture(path) and axes.get_xscale() == "log"
    low, high = axes.get_ylim()
    assert low < 51 and high > 86
    assert {text.get_text() for text in axes.texts} == {"fisher", "folder", "lenet"}
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1 min", "2 min", "5 min", "10 min"]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_single_entry_without_an_interval_is_drawn(tmp_path: Path) -> None:
    benchmark_png([Place("a", 0.5, None, 3.0, "network")], "mAP", tmp_path / "a.png")
    assert is_our_picture(tmp_path / "a.png")


def test_labels_move_only_where_they_overlap_and_as_little_as_possible() -> None:
    extents = [(0.0, 10.0), (5.0, 15.0), (100.0, 110.0), (4.0, 6.0)]
    heights = spread_labels(extents, [50.0, 52.0, 51.0, 90.0], 12.0)
    assert heights == pytest.approx([45.0, 57.0, 51.0, 90.0])


def test_spread_labels_are_a_gap_apart_in_the_order_of_their_centres() -> None:
    centres = np.random.default_rng(0).uniform(0, 60, 9)
    heights = np.array(spread_labels([(0.0, 1.0)] * 9, centres.tolist(), 10.0))
    order = np.argsort(centres)
    assert (np.diff(heights[order]) >= 10 - 1e-9).all()
    assert heights.mean() == pytest.approx(centres.mean())  # a least-squares solution keeps the mean
