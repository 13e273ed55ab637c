"""Pictures: valid PNGs, with the pixels they promise."""

import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imclass.app import plots
from imclass.app.plots import confusion_png, curves_png, grid, grid_png, shaded
from imclass.core.errors import UserError


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


BLUE = tuple(round(255 * c) for c in plots.HIT)


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
    assert share(wrong, tuple(round(255 * c) for c in plots.MISTAKE)) > 0.1


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
        monkeypatch.setattr(plots, "FONTS", fonts)
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


def test_the_users_own_style_does_not_matter(tmp_path: Path) -> None:
    import matplotlib

    confusion_png(matrix(3), list("abc"), tmp_path / "plain.png")
    with matplotlib.rc_context({"figure.facecolor": "black", "text.usetex": True, "font.size": 30}):
        confusion_png(matrix(3), list("abc"), tmp_path / "styled.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (pixels(tmp_path / "plain.png") == pixels(tmp_path / "styled.png")).all()


def test_shades_of_a_matrix_with_an_empty_row() -> None:
    shares = np.array([[0.0, 0.0, 0.0], [0.02, 0.98, 0.0], [0.0, 0.0, 1.0]])
    colours = shaded(shares, 1)
    assert (colours[0] == 1).all() and np.isfinite(colours).all()
    np.testing.assert_allclose(colours[2, 2], plots.HIT)
    np.testing.assert_allclose(colours[1, 0], 1 - math.sqrt(0.2) * (1 - np.array(plots.MISTAKE)))


def test_blocks_of_classes_keep_the_largest_share() -> None:
    shares = np.zeros((5, 5))
    shares[1, 4] = 0.4
    colours = shaded(shares, 2)
    assert colours.shape == (3, 3, 3)
    np.testing.assert_allclose(colours[0, 2], plots.MISTAKE)
    assert np.count_nonzero(colours.min(axis=2) < 1) == 1


def history(n: int) -> list[dict[str, float | int | None]]:
    records: list[dict[str, float | int | None]] = []
    for epoch in range(1, n + 1):
        tested = {"test_loss": 2.5 / epoch, "test_error": 0.9 / epoch} if epoch % 3 == 0 else {"test_loss": None}
        records.append({"epoch": epoch, "train_loss": 2 / epoch, "train_error": 0.8 / epoch, **tested})
    return records


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


def test_grid_of_sixty_four_maps_is_264_pixels_square() -> None:
    maps = np.random.default_rng(0).normal(size=(64, 32, 32)).astype(np.float32)
    picture = grid(maps)
    assert picture.shape == (264, 264) and picture.dtype == np.uint8
    expected = np.full((264, 264), 255)
    low, high = float(maps.min()), float(maps.max())
    for i, tile in enumerate(maps.astype(float)):
        top, left = 33 * (i // 8), 33 * (i % 8)
        expected[top : top + 32, left : left + 32] = np.round(255 * (tile - low) / (high - low))
    assert (picture == expected).all()
    assert (picture[32::33] == 255).all() and (picture[:, 32::33] == 255).all()


@pytest.mark.parametrize(("n", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_grid_has_the_fewest_tiles_a_side_and_white_where_there_is_no_map(n: int, side: int) -> None:
    picture = grid(np.zeros((n, 3, 5)))
    assert picture.shape == (4 * side, 6 * side)
    assert (picture == 0).sum() == n * 15 and (picture == 255).sum() == picture.size - n * 15


@pytest.mark.parametrize("value", [0.0, -3.5, 1e30])
def test_constant_maps_are_flat(value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 0/0 would warn and give NaN
        picture = grid(np.full((4, 6, 6), value, np.float32))
    assert (picture[:6, :6] == 0).all()


def test_a_constant_map_among_others_is_flat_on_the_common_scale() -> None:
    maps = np.stack([np.full((4, 4), 0.5), np.linspace(0, 1, 16).reshape(4, 4)])
    picture = grid(maps)
    assert (picture[:4, :4] == 128).all() and (picture[0, 5], picture[3, 8]) == (0, 255)


def test_half_precision_maps_do_not_overflow() -> None:
    picture = grid(np.array([[[-6e4, 6e4]]], np.float16))  # their difference is no half-precision number
    assert picture[0].tolist() == [0, 255, 255]


@pytest.mark.parametrize(("maps", "said"), [(np.full((1, 2, 2), np.nan), "not finite"), (np.zeros((0, 2, 2)), "empty")])
def test_maps_that_cannot_be_shown_are_named(maps: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=f"{maps.shape[0]} x 2 x 2 are {said}"):
        grid(maps)


@pytest.mark.parametrize(("side", "times"), [(8, 18), (170, 1)])
def test_grid_png_is_the_grid_enlarged_by_a_whole_factor(side: int, times: int, tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(5, side, side))
    grid_png(maps, tmp_path / "grid.png")
    drawn, exact = pixels(tmp_path / "grid.png")[:, :, 0], grid(maps)
    assert drawn.shape[1] == times * exact.shape[1] >= 480 > (times - 1) * exact.shape[1]
    assert (drawn == np.kron(exact, np.ones((times, times), np.uint8))).all()


def test_a_failed_picture_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    grid_png(np.zeros((1, 2, 2)), path)
    before = path.read_bytes()
    with pytest.raises(UserError):
        grid_png(np.full((1, 2, 2), np.nan), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_matplotlib_waits_for_the_first_picture_and_pyplot_is_never_needed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, numpy; from imclass.app.plots import curves_png; early = 'matplotlib' in sys.modules; "
        f"curves_png([], pathlib.Path({str(tmp_path / 'c.png')!r})); print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
