"""Learning curves of any length are drawn, and say their last values."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imclass.app.draw.curves import curves_png


def share(picture: np.ndarray, colour: tuple[int, ...]) -> float:
    """Of the picture's area, how much has about this colour."""
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
    assert all((share(half, (31, 119, 180)) > 0) == (n > 0) for half in halves)
    assert all((share(half, (214, 39, 40)) > 0) == (n > 2) for half in halves)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_run_still_has_its_curves(value: float, tmp_path: Path) -> None:
    records = history(5)
    records[-1]["train_loss"] = value
    curves_png(records, tmp_path / "curves.png")
    curves_png([{"epoch": 1, "train_loss": value}], tmp_path / "nothing.png")
    assert share(pixels(tmp_path / "curves.png"), (31, 119, 180)) > 0
    assert pixels(tmp_path / "nothing.png").shape[2] == 3


def test_what_the_curves_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig

    def recorded(figure: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", recorded)
    curves_png(history(7), tmp_path / "curves.png")
    loss, error = drawn[0].axes
    legend = error.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["Train error", "Test error"]
    train, test = error.get_lines()
    assert np.allclose(np.asarray(train.get_ydata()), 80 / np.arange(1, 8))  # shares are drawn as percent
    assert np.asarray(test.get_xdata()).tolist() == [3, 6]
    assert error.get_title(loc="left") == f"last: train {80 / 7:.2f} % · test 15.00 %"
    assert (loss.get_ylim()[0], error.get_ylim()[0], error.get_ylabel()) == (0, 0, "error (%)")
