"""Words become options and positions in one pass, and then the fields of an argument class."""

from pathlib import Path
from typing import Any

import pytest

from imclass.app.cli.arguments import Common, Compare, Data, Evaluate, Predict, Train, Weights
from imclass.app.cli.words import filled, scan
from imclass.core.codec import Words
from imclass.core.errors import UserError


def test_without_a_class_an_option_takes_all_up_to_the_next() -> None:
    widths = ["--model.widths", "4", "8"]
    found = scan([*widths, "--strict", "--schedule.rate=-1", "--optimiser.no-nesterov", "--save_every"])
    assert found == (
        [],
        {
            "model.widths": Words(("4", "8")),
            "strict": Words(()),
            "schedule.rate": Words(("-1",)),
            "optimiser.nesterov": False,
            "save_every": Words(()),
        },
    )


def read(kind: type, *words: str) -> Any:
    """Return what the words say to a verb."""
    return filled(kind, *scan(words, kind), "imclass verb")


def test_with_a_class_an_option_takes_what_its_field_holds() -> None:
    assert read(Predict, "--json", "a", "b", "--top", "3", "c") == Predict(
        Path("a"), ("b", "c"), top=3, common=Common(json=True)
    )
    assert read(Predict, "a", "--", "--odd.png").paths == ("--odd.png",)
    assert read(Evaluate, "a", "--table", "3", "--plugins", "p", "b", "--plugins", "q") == Evaluate(
        (Path("a"), Path("b")), table="3", common=Common(plugins=(Path("p"), Path("q")))
    )
    assert read(Data) == Data() and read(Data, "check", "pets", "--split-seed=4") == Data("check", "pets", split_seed=4)
    weights = read(Weights, "import", "f", "--as", "lenet-5", "--from", "timm")
    assert (weights.as_, weights.from_) == ("lenet-5", "timm")


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (Predict, ["--workers", "two", "a"], "--workers is 'two'; it must be a whole number"),
        (Predict, ["a", "--workers"], "--workers needs a value"),
        (Predict, [], "imclass verb needs one more MODEL"),
        (Compare, ["a", "b", "c"], "there is nothing to do with 'c'"),
        (Predict, ["a", "--wokers", "2"], "there is no option --wokers; did you mean '--workers'?"),
        (Predict, ["a", "--format", "xml"], "--format is 'xml'; it must be one of 'table', 'csv', 'json'"),
        (Train, ["--style", "line"], "--style is 'line'; it must be one of 'bar', 'book'"),
    ],
)
def test_a_mistake_is_named(kind: type, words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(kind, *words)
    assert str(caught.value).startswith(message)
