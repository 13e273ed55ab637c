"""The nearest name is suggested; text is made safe, aligned and shortened."""

import math

import pytest

from imclass.core.text import list_names, percent, printable_text, shorten_name, suggestion, text_width


def test_suggestion_is_a_close_name_else_a_short_list_else_nothing() -> None:
    assert suggestion("vgg-dd", ["vgg-d", "vgg-a", "lenet-5"]) == "; did you mean 'vgg-d'?"
    assert suggestion("zzz", ["b", "a"]) == "; there are: a, b"
    assert suggestion("zzz", []) == ""
    assert "did you mean" not in suggestion("--lr", ["--store", "--out"])
    assert suggestion("mnist", ["mnist-lenet", "folder"]) == "; did you mean 'mnist-lenet'?"
    assert "did you mean" not in suggestion("finetune", ["features", "train"]) + suggestion(
        "--gpu", ["--top", "--data"]
    )
    assert suggestion("--topk", ["--top", "--data"]) == "; did you mean '--top'?"
    assert suggestion("zzz", [f"name-{i}" for i in range(41)]) == ""


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
def test_printable_text_is_one_safe_line(text: str, shown: str) -> None:
    assert printable_text(text) == shown
    assert printable_text(text).isprintable()


def test_list_names_counts_the_names_it_leaves_out() -> None:
    assert list_names(["a", "b"]) == "'a', 'b'"
    assert list_names(list("abc"), max_names=2) == "'a', 'b' and 1 more"


def test_percent_prints_nan_as_a_dash() -> None:
    assert (percent(math.nan), percent(0.98434), percent(1.0)) == ("-", "98.43%", "100.00%")


@pytest.mark.parametrize("name", ["short", "x" * 32, "n02110958_" + "pug_" * 20 + "black", "猫" * 40, "a\nb" * 40])
def test_shortened_names_fit_and_keep_their_ends(name: str) -> None:
    short = shorten_name(name)
    assert text_width(short) <= 32 and short.isprintable() and short[:3] == name.replace("\n", "\\n")[:3]
    assert ("…" in short) == (text_width(name.replace("\n", "\\n")) > 32)
    assert short[-1] == name[-1]
