"""Learning curves of any length are drawn with their last values, and are the same as a PNG and on a page."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from imclass.app.draw.axis import integer_axis, zero_based_axis
from imclass.app.draw.curves import SPLIT_COLOURS, curves_png, panels
from imclass.app.report import figures
from tests.app.draw.support import figure_of
from tests.app.report.reader import read

TRAIN, TEST = ImageColor.getrgb(SPLIT_COLOURS["train"]), ImageColor.getrgb(SPLIT_COLOURS["test"])


def share(picture: np.ndarray, colour: tuple[int, ...]) -> float:
    """Return the share of the picture's area that has about this colour."""
    return float((np.abs(picture - colour).max(axis=2) < 12).mean())


def history(n: int) -> list[dict[str, float | int | None]]:
    records: list[dict[str, float | int | None]] = []
    for epoch in range(1, n + 1):
        tested = {"test_loss": 2.5 / epoch, "test_error": 0.9 / epoch} if epoch % 3 == 0 else {"test_loss": None}
        records.append({"epoch": epoch, "train_loss": 2 / epoch, "train_error": 0.8 / epoch, **tested})
    return records


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.parametrize("n", [0, 1, 2, 30, 300])
def test_curves_of_all_lengths(n: int, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curves_png(history(n), tmp_path / "curves.png")
    picture = pixels(tmp_path / "curves.png")
    assert picture.shape[1] > 2 * picture.shape[0]  # two panels side by side
    halves = np.array_split(picture, 2, axis=1)
    assert all((share(half, TRAIN) > 0) == (n > 0) for half in halves)
    assert all((share(half, TEST) > 0) == (n > 2) for half in halves)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_run_still_has_its_curves(value: float, tmp_path: Path) -> None:
    records = history(5)
    records[-1]["train_loss"] = value
    curves_png(records, tmp_path / "curves.png")
    curves_png([{"epoch": 1, "train_loss": value}], tmp_path / "nothing.png")
    assert share(pixels(tmp_path / "curves.png"), TRAIN) > 0
    assert pixels(tmp_path / "nothing.png").shape[2] == 3


def test_curves_have_legends_and_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, error = figure_of(lambda: curves_png(history(7), tmp_path / "curves.png"), monkeypatch).axes
    legend = error.get_legend()
    assert legend is not None and legend.get_title().get_text() == "last epoch"
    assert [text.get_text() for text in legend.get_texts()] == [f"train {80 / 7:.2f}%", "test 15.00%"]
    train, test = (line for line in error.get_lines() if np.size(line.get_xdata()))
    assert np.allclose(np.asarray(train.get_ydata()), 80 / np.arange(1, 8))  # shares are drawn as percent
    assert np.asarray(test.get_xdata()).tolist() == [3, 6]
    assert (loss.get_ylim()[0], error.get_ylim()[0], error.get_title(loc="left")) == (0, 0, "error (%)")


def diverged_history(n: int) -> list[dict[str, float | int | None]]:
    """Return a history with two gaps around a single epoch."""
    records = history(n)
    for epoch in (3, 5):
        if n > epoch:
            records[epoch]["train_loss"] = math.nan
    return [record | {"validation_loss": 1.5, "validation_error": 0.25} for record in records]


@pytest.mark.parametrize("n", [1, 7, 60])
def test_picture_and_page_show_the_same_curves(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figure_of(lambda: curves_png(diverged_history(n), tmp_path / "curves.png"), monkeypatch)
    for axes, shown in zip(figure.axes, panels(diverged_history(n)), strict=True):
        page = read(figures.panel_figure(shown))
        legend, texts = axes.get_legend(), [text.text for text in page.one("svg").all("text")]
        assert legend is not None
        last = [text.get_text() for text in legend.get_texts()]
        assert last == [key.text for key in page.one("figcaption").all("span")] == [line.last for line in shown.lines]
        y, x = ([t.get_text() for t in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels()))
        assert texts == [*y, *x, axes.get_title(loc="left"), axes.get_xlabel()]
        assert page.one("svg").attributes["role"] == "img"
        assert all(words in str(page.one("svg").attributes["aria-label"]) for words in last)
        lines = [line for line in axes.get_lines() if np.size(line.get_xdata()) > 1]
        assert len(lines) == len(page.all("polyline"))
        for line, drawn in zip(lines, page.all("polyline"), strict=True):
            points = [tuple(map(float, p.split(","))) for p in str(drawn.attributes["points"]).split()]
            places = axes.transLimits.transform(np.transpose([line.get_xdata(), line.get_ydata()]))
            assert np.allclose(points, (44, 228) + places * (388 - 44, 30 - 228), atol=0.06)
        dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
        assert sum(np.size(line.get_xdata()) for line in dots) == len(page.all("circle"))


def by_step(n: int, parts: int) -> list[dict[str, float]]:
    """Training at fractions of n epochs."""
    places = [(i + 0.5) / parts for i in range(n * parts)]
    return [{"epoch": place, "train_loss": 2 / (1 + place), "train_error": 0.8 / (1 + place)} for place in places]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_training_is_a_line_by_step_and_the_rest_by_epoch(n: int, tmp_path: Path, monkeypatch: Any) -> None:
    parts = by_step(n or 1, 20)
    figure = figure_of(lambda: curves_png(history(n), tmp_path / "curves.png", parts), monkeypatch)
    for axes, shown in zip(figure.axes, panels(history(n), parts), strict=True):
        assert next(iter(shown.epochs.ticks)) == 0 and shown.epochs.high == max(n, 1)
        train, *others = (line for line in axes.get_lines() if np.size(line.get_xdata()))
        assert np.asarray(train.get_xdata()).tolist() == [part["epoch"] for part in parts]
        assert train.get_marker() in ("", "None")  # a line and no dots
        assert [line.get_marker() for line in others] == ["o"] * (n == 3)
        last = shown.lines[0].last  # the last epoch's mean, and before there is one what the line ends with
        mean = history(n)[-1] if n else parts[-1]
        assert last in (f"train {mean['train_loss']:.4f}", f"train {100 * mean['train_error']:.2f}%")  # type: ignore[operator]
    assert share(pixels(tmp_path / "curves.png"), TRAIN) > 0.001


def test_the_loss_of_auxiliary_heads_is_named() -> None:
    rows = [{"epoch": 1, "train_loss": 1.0, "train_auxiliary": 0.5, "train_error": 0.25}]
    loss, error = panels(rows)
    assert [line.last for line in loss.lines] == ["train 1.0000 (+ 0.5000 auxiliary)"]
    assert [line.last for line in error.lines] == ["train 25.00%"]


def test_gaps_break_a_line_and_single_epochs_are_dots() -> None:
    train = panels(diverged_history(60))[0].lines[0]
    assert [len(piece) for piece in train.pieces] == [3, 1, 54] and train.dots == [(5, 0.4)]
    assert len(panels(diverged_history(7))[0].lines[0].dots) == 5  # a short history has one for each epoch


@pytest.mark.parametrize("highest", [1e-9, 0.003, 0.1, 0.99, 1.0, 2.302, 7.0, 59.9, 100.0, 12345.0, 3e38])
def test_ticks_are_round_and_reach_the_highest_value(highest: float) -> None:
    axis = zero_based_axis(highest)
    ticks = list(axis.ticks)
    assert ticks[-2] < highest <= ticks[-1] * (1 + 1e-9) and 3 <= len(ticks) <= 7
    assert round(ticks[1] / 10 ** math.floor(math.log10(ticks[1] * (1 + 1e-9))), 6) in (1, 2, 5)
    assert (axis.low, axis.high) == (0, ticks[-1])
    assert [float(label) for label in axis.ticks.values()] == pytest.approx(ticks)


def test_an_error_of_zero_has_an_axis() -> None:
    assert zero_based_axis(0.0).high > 0


@pytest.mark.parametrize(
    ("first", "last", "ticks"),
    [
        (1, 1, [1]),
        (1, 3, [1, 2, 3]),
        (5, 7, [5, 6, 7]),
        (1, 7, [1, 2, 3, 4, 5, 6, 7]),
        (1, 60, [1, 10, 20, 30, 40, 50, 60]),
        (9, 30, [9, 15, 20, 25, 30]),
    ],
)
def test_epochs_have_ticks_at_the_first_and_at_round_ones(first: int, last: int, ticks: list[int]) -> None:
    axis = integer_axis(first, last)
    assert list(axis.ticks) == ticks and list(axis.ticks.values()) == [str(tick) for tick in ticks]
    assert axis.low <= first <= last <= axis.high and axis.low < axis.high


def test_a_mean_average_precision_takes_the_place_of_the_error() -> None:
    rows = [{"epoch": n, "train_loss": 1 / n, "validation_loss": 2 / n, "validation_map": n / 4} for n in (1, 2, 3)]
    loss, right = panels(rows, [{"epoch": 0.5, "train_loss": 3.0}])
    assert [line.split for line in loss.lines] == ["train", "validation"]
    assert right.title == "mean average precision (%)" and [line.last for line in right.lines] == ["validation 75.00%"]
    assert panels([{"epoch": 1, "train_error": 0.5}])[1].title == "error (%)"
