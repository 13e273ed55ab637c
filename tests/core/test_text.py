"""The nearest name is offered; text is one safe line, aligned, shortened."""

import math

import pytest

from imclass.core.text import columns, listed, nearest, percent, printable, shortened


def test_nearest_offers_a_close_name_else_a_short_list_else_nothing() -> None:
    assert nearest("vgg-dd", ["vgg-d", "vgg-a", "lenet-5"]) == "; did you mean 'vgg-d'?"
    assert nearest("zzz", ["b", "a"]) == "; there are: a, b"
    assert nearest("zzz", []) == ""
    assert "did you mean" not in nearest("--lr", ["--store", "--out"])
    assert nearest("mnist", ["mnist-lenet", "folder"]) == "; did you mean 'mnist-lenet'?"
    assert "did you mean" not in nearest("finetune", ["features", "train"]) + nearest("--gpu", ["--top", "--data"])
    assert nearest("--topk", ["--top", "--data"]) == "; did you mean '--top'?"
    assert nearest("zzz", [f"name-{i}" for i in range(41)]) == ""


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


def test_listed_counts_what_it_leaves_out() -> None:
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed(list("abc"), most=2) == "'a', 'b' and 1 more"


def test_percent_of_nothing_is_a_dash() -> None:
    assert (percent(math.nan), percent(0.98434), percent(1.0)) == ("-", "98.43 %", "100.00 %")


@pytest.mark.parametrize("name", ["short", "x" * 32, "n02110958_" + "pug_" * 20 + "black", "猫" * 40, "a\nb" * 40])
def test_shortened_names_fit_and_keep_their_ends(name: str) -> None:
    short = shortened(name)
    assert columns(short) <= 32 and short.isprintable() and short[:3] == name.replace("\n", "\\n")[:3]
    assert ("…" in short) == (columns(name.replace("\n", "\\n")) > 32)
    assert short[-1] == name[-1]
