"""Confusion matrices: valid PNGs with the expected pixels, and the same matrix on the page."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from imclass.app.draw import canvas
from imclass.app.draw.confusion import DARK_INK, confusion_png, ink
from imclass.app.draw.confusion import matrix_view as shown_of
from imclass.app.report import figures
from tests.app.draw.support import figure_of
from tests.app.report.reader import pixels_of, read


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def share(picture: np.ndarray, colour: tuple[int, ...]) -> float:
    """Return the share of the picture's area that has about this colour."""
    return float((np.abs(picture - colour).max(axis=2) < 12).mean())


def matrix(k: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (k, k)) + 90 * np.eye(k, dtype=np.int64)


BLUE, ORANGE = map(ImageColor.getrgb, (canvas.HIT_COLOUR, canvas.MISTAKE_COLOUR))


@pytest.mark.parametrize("k", [2, 10, 40, 200])
def test_confusion_matrices_of_all_sizes_are_pictures_of_a_readable_size(k: int, tmp_path: Path) -> None:
    confusion_png(matrix(k), [f"class {i}" for i in range(k)], tmp_path / "c.png")
    height, width = pixels(tmp_path / "c.png").shape[:2]
    assert 300 < height < 1600 and 300 < width < 1600
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]  # nothing half-written is left


def test_hits_are_blue_and_mistakes_are_not(tmp_path: Path) -> None:
    confusion_png(10 * np.eye(4, dtype=np.int64), list("abcd"), tmp_path / "right.png")
    confusion_png(10 * np.roll(np.eye(4, dtype=np.int64), 1, 0), list("abcd"), tmp_path / "wrong.png")
    right, wrong = pixels(tmp_path / "right.png"), pixels(tmp_path / "wrong.png")
    assert share(right, BLUE) > 0.1 and share(wrong, BLUE) == 0
    assert share(wrong, ORANGE) > 0.1


NAMES = ["$x_1^2$", r"$\frac{", "a_b^c_", "line\nbreak", "кошка", "猫", "\x00\x1b[2J", "\udcff", "{}%s%", "long " * 60]


def test_any_class_name_can_be_drawn_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_png(matrix(len(NAMES)), NAMES, tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").shape[1] < 1600


def test_a_script_that_the_default_font_lacks_uses_an_installed_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Use fonts of matplotlib in place of a system's; its default font lacks U+210A."""

    def draw(*fonts: str) -> bytes:
        monkeypatch.setattr(canvas, "FONTS", fonts)
        confusion_png(matrix(2), ["\u210a", "b"], tmp_path / "c.png")
        return (tmp_path / "c.png").read_bytes()

    assert draw() == draw("a font that is not there") != draw("STIXGeneral")
    assert not caplog.records  # matplotlib would warn at each text


def test_names_are_not_read_as_mathematics() -> None:
    """Show that matplotlib by default would refuse to draw such a name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0, 0, NAMES[1] + "$")
    with pytest.raises(ValueError, match=r"ParseException|ParseSyntaxException|Expected"):
        FigureCanvasAgg(figure).draw()


def test_shades_of_a_matrix_with_an_empty_row() -> None:
    shown = shown_of(np.array([[0, 0, 0], [2, 98, 0], [0, 0, 5]]), list("abc"))
    on_white = 1 - shown.pixels[:, :, 3:] / 255 * (1 - shown.pixels[:, :, :3] / 255)
    assert (on_white[0] == 1).all() and np.isfinite(shown.ink).all()
    np.testing.assert_allclose(255 * on_white[2, 2], BLUE)
    expected = 1 - math.sqrt(0.2) * (1 - np.array(ORANGE) / 255)  # 2% where 10% is full orange
    np.testing.assert_allclose(on_white[1, 0], expected, atol=0.5 / 255)


def test_blocks_of_classes_keep_the_largest_share() -> None:
    shares = np.zeros((5, 5))
    shares[1, 4] = 0.4
    blocks = ink(shares, 2)
    assert blocks.shape == (3, 3) and blocks[0, 2] == 1 and np.count_nonzero(blocks) == 1


@pytest.mark.parametrize(
    ("k", "labels", "cells", "note"),
    [
        (15, list(range(1, 16)), 15, ""),
        (16, list(range(1, 17)), 16, ""),
        (64, list(range(1, 65)), 64, ""),
        (65, [1, 20, 40, 60], 65, "classes are numbered from 1"),
        (251, [1, 50, 100, 150, 200, 250], 126, "largest fraction in a block of 2 x 2"),
    ],
)  # fmt: skip
def test_labels_cells_and_notes_depend_on_the_number_of_classes(
    k: int, labels: list[int], cells: int, note: str
) -> None:
    shown = shown_of(matrix(k), [f"class {i}" for i in range(1, k + 1)])
    named = k <= 64
    assert dict(shown.labels) == {i: f"class {i}" if named else f"{i}" for i in labels}
    assert shown.turned == named and note in shown.note and bool(shown.note) != named
    assert shown.ink.shape == (cells, cells) and bool(shown.counts) == (k <= 15)
    assert shown.title == f"{matrix(k).trace():,} of {matrix(k).sum():,} correct (" + shown.title.partition(" (")[2]


@pytest.mark.parametrize(
    ("name", "k", "turned"),
    [("abcd", 15, False), ("abcde", 15, True), ("猫の子", 2, True), ("ab", 16, False), ("abc", 16, True)],
)
def test_long_names_over_columns_are_turned(name: str, k: int, turned: bool) -> None:
    assert shown_of(matrix(k), ["a"] * (k - 1) + [name]).turned == turned


@pytest.mark.parametrize("k", [2, 10, 20, 100, 300])
def test_picture_and_page_show_the_same_matrix(k: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, classes = matrix(k), [f"class {i}" for i in range(k)]
    shown = shown_of(counts, classes)
    page = read(figures.confusion_figure(shown))
    (axes,) = figure_of(lambda: confusion_png(counts, classes, tmp_path / "c.png"), monkeypatch).axes
    labels = [*shown.labels.values()]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == labels
    assert [tick.get_text() for tick in axes.get_yticklabels()] == labels
    assert axes.get_xticks().tolist() == axes.get_yticks().tolist() == [*shown.labels]
    assert axes.get_title() == shown.title and axes.get_xlabel().endswith(shown.note)
    assert {text.get_rotation() for text in axes.get_xticklabels()} == {90 if shown.turned else 0}
    assert len(page.all("", **{"class": "turned"})) == 0
    assert any("turned" in str(node.attributes.get("class")) for node in page.all()) == shown.turned
    assert (np.asarray(axes.images[0].get_array()) == shown.pixels).all()
    if k <= 15:
        heads, *rows = ([cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in page.all("tr"))
        assert heads == ["", *labels] and rows == [[n, *row] for n, row in zip(labels, shown.counts, strict=True)]
        cells = [cell for row in page.one("tbody").all("tr") for cell in row.all("td")]
        assert [text.get_text() for text in axes.texts] == [cell.text for cell in cells]
        for text, cell, ink in zip(axes.texts, cells, shown.ink.flat, strict=True):
            deep = "deep" in str(cell.attributes.get("class"))
            assert (text.get_color() == "white") == deep == (ink > DARK_INK)
            assert cell.attributes.get("style", "--i:0%") == f"--i:{100 * ink:.0f}%"
    else:
        above, left = page.all("ol")
        assert [li.text for li in above.all("li")] == [li.text for li in left.all("li")] == labels
        assert [li.attributes["style"] for li in left.all("li")] == [f"grid-row:{i}" for i in shown.labels]
        assert [li.attributes["style"] for li in above.all("li")] == [f"grid-column:{i}" for i in shown.labels]
        assert (pixels_of(page.one("img")) == shown.pixels).all()
        assert shown.title in str(page.one("img").attributes["alt"])
