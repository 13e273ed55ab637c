"""Pictures: valid PNGs, with the pixels they promise."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imclass.app.draw import canvas
from imclass.app.draw.confusion import confusion_png, shaded


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def share(picture: np.ndarray, colour: tuple[int, ...]) -> float:
    """Of the picture's area, how much has about this colour."""
    return float((np.abs(picture - colour).max(axis=2) < 12).mean())


def matrix(k: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (k, k)) + 90 * np.eye(k, dtype=np.int64)


BLUE = tuple(round(255 * c) for c in canvas.HIT)


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
    assert share(wrong, tuple(round(255 * c) for c in canvas.MISTAKE)) > 0.1


NAMES = ["$x_1^2$", r"$\frac{", "a_b^c_", "line\nbreak", "кошка", "猫", "\x00\x1b[2J", "\udcff", "{}%s%", "long " * 60]


def test_any_class_name_can_be_drawn_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_png(matrix(len(NAMES)), NAMES, tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").shape[1] < 1600


def test_a_script_that_the_usual_font_lacks_takes_one_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fonts that come with matplotlib stand for those of a system; U+210A is not in its own."""

    def drawn(*fonts: str) -> bytes:
        monkeypatch.setattr(canvas, "FONTS", fonts)
        confusion_png(matrix(2), ["\u210a", "b"], tmp_path / "c.png")
        return (tmp_path / "c.png").read_bytes()

    assert drawn() == drawn("a font that is not there") != drawn("STIXGeneral")
    assert not caplog.records  # matplotlib would warn at each text


def test_names_are_not_read_as_mathematics() -> None:
    """The twin: matplotlib itself would refuse to draw such a name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0, 0, NAMES[1] + "$")
    with pytest.raises(ValueError, match=r"ParseException|ParseSyntaxException|Expected"):
        FigureCanvasAgg(figure).draw()


def test_shades_of_a_matrix_with_an_empty_row() -> None:
    shares = np.array([[0.0, 0.0, 0.0], [0.02, 0.98, 0.0], [0.0, 0.0, 1.0]])
    colours = shaded(shares, 1)
    assert (colours[0] == 1).all() and np.isfinite(colours).all()
    np.testing.assert_allclose(colours[2, 2], canvas.HIT)
    np.testing.assert_allclose(colours[1, 0], 1 - math.sqrt(0.2) * (1 - np.array(canvas.MISTAKE)))


def test_blocks_of_classes_keep_the_largest_share() -> None:
    shares = np.zeros((5, 5))
    shares[1, 4] = 0.4
    colours = shaded(shares, 2)
    assert colours.shape == (3, 3, 3)
    np.testing.assert_allclose(colours[0, 2], canvas.MISTAKE)
    assert np.count_nonzero(colours.min(axis=2) < 1) == 1
