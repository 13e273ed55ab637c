"""Maps of features: every point has the colour and marker of its class, and the legend has the names."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from imclass.app.draw.feature_map import COLOURS, MARKERS, feature_map_png
from imclass.app.features.projection import Projection
from tests.app.draw.support import figure_of


def points(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2))


def draw_figure(
    n: int, classes: int, path: Path, monkeypatch: pytest.MonkeyPatch, total: int | None = None
) -> tuple[Figure, np.ndarray]:
    """Draw a map of n images, whose labels repeat all classes, and return its figure and the labels."""
    labels = np.arange(n) % max(1, classes)
    names = [f"$class_{k}" for k in range(classes)]
    found = Projection(points(n), np.arange(n), total or n, "pca", (0.5, 0.25))
    kept = labels if classes else None
    figure = figure_of(lambda: feature_map_png(found, kept, names, path, "penultimate features"), monkeypatch)
    return figure, labels


def test_points_have_the_colours_and_markers_of_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, labels = draw_figure(48, 24, tmp_path / "map.png", monkeypatch)
    (axes,) = figure.axes
    drawn = {
        (*point, to_hex(colour))
        for scatter in axes.collections
        for point, colour in zip(np.asarray(scatter.get_offsets()).tolist(), scatter.get_facecolors(), strict=True)  # type: ignore[attr-defined]
    }
    assert drawn == {(*p, COLOURS[k % 10]) for p, k in zip(points(48).tolist(), labels.tolist(), strict=True)}
    assert len(axes.collections) == 3
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"$class_{k}" for k in range(24)]
    assert [line.get_marker() for line in axes.lines] == [MARKERS[k // 10] for k in range(24)]
    assert axes.get_title(loc="left") == "penultimate features, principal components\n48 images, 24 classes"
    assert axes.get_xlabel() == "first principal component, 50.00% of the variance"
    assert axes.get_ylabel() == "second principal component, 25.00%"


def test_images_without_labels_have_one_colour_and_no_legend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = draw_figure(5, 0, tmp_path / "map.png", monkeypatch, total=70)[0].axes
    assert axes.get_legend() is None and len(axes.collections) == 1
    assert axes.get_title(loc="left").endswith("\n5 of 70 images")


def test_too_many_classes_for_a_legend_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = draw_figure(200, 100, tmp_path / "map.png", monkeypatch)[0].axes
    assert axes.get_legend() is None and axes.get_title(loc="left").endswith("200 images, 100 classes")
