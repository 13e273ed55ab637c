"""What the user reads when something is amiss."""

import pytest

from imclass.core.errors import BadImage, nearest, printable


def test_nearest_offers_a_close_name_else_a_short_list_else_nothing() -> None:
    assert nearest("vgg-dd", ["vgg-d", "vgg-a", "lenet-5"]) == "; did you mean 'vgg-d'?"
    assert nearest("zzz", ["b", "a"]) == "; there are: a, b"
    assert nearest("zzz", []) == ""
    assert "did you mean" not in nearest("--lr", ["--store", "--out"])
    assert nearest("zzz", [f"name-{i}" for i in range(41)]) == ""


def test_a_bad_image_names_file_and_reason() -> None:
    error = BadImage("truncated", "cats/1.png", "ends after 12 of 400 bytes")
    assert str(error) == "cats/1.png: ends after 12 of 400 bytes (truncated)"
    assert (error.code, error.path, error.detail) == error.args


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 数", "plain é 数"),
        ("two\nlines\t", r"two\nlines\t"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("broken \udcff", r"broken \udcff"),
        ("right \u202e left", r"right \u202e left"),
    ],
)
def test_printable_is_one_safe_line(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()
