"""Words are split into options and positional words, and then converted to the fields of an argument class."""

from pathlib import Path
from typing import Any

import pytest

from imclass.app.cli.arguments import (
    CommonArguments,
    CompareArguments,
    DataArguments,
    EvaluateArguments,
    PredictArguments,
    TrainArguments,
    WeightsArguments,
)
from imclass.app.cli.words import option_error, option_hints, parse, scan
from imclass.core.errors import UserError
from imclass.core.override import Words


def test_an_option_takes_all_words_up_to_the_next_option() -> None:
    assert scan(["a", "--model.widths", "4", "8", "--strict", "--rate=-1", "b", "--save_every", "--", "--c"]) == (
        ["a", "b", "--c"],
        [("model.widths", ["4", "8"]), ("strict", []), ("rate", ["-1"]), ("save_every", [])],
    )


def test_a_tilde_is_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert scan(["~/a b", "~", "x~", "--out=~/run", "--data", "~/pets", "--name=a~"]) == (
        ["/home/me/a b", "/home/me", "x~"],
        [("out", ["/home/me/run"]), ("data", ["/home/me/pets"]), ("name", ["a~"])],
    )
    assert scan(["~no one/x"])[0] == ["~no one/x"]  # without a traceback


def test_options_of_the_config_are_returned_separately() -> None:
    words = ["lenet", "--model.widths", "4", "8", "--optimiser.no-nesterov", "--schedule.rate=-1", "--dry-run"]
    assert parse(TrainArguments, words, "imclass train") == (
        TrainArguments("lenet", dry_run=True),
        {
            "model.widths": Words(("4", "8")),
            "optimiser.nesterov": Words(("false",)),
            "schedule.rate": Words(("-1",)),
        },
    )


def read(kind: type, *words: str) -> Any:
    """Parse the words of a verb, and raise an error for any other option."""
    arguments, others = parse(kind, words, "imclass verb")
    for key in others:
        raise option_error(key, option_hints(kind))
    return arguments


def test_options_fill_the_fields_of_their_types() -> None:
    assert read(PredictArguments, "--json", "a", "b", "--top", "3", "c") == PredictArguments(
        Path("a"), ("b", "c"), top=3, common=CommonArguments(json=True)
    )
    assert read(PredictArguments, "a", "--", "--odd.png").paths == ("--odd.png",)
    assert read(EvaluateArguments, "a", "--table", "3", "--plugins", "p", "b", "--plugins", "q") == EvaluateArguments(
        (Path("a"), Path("b")), table="3", common=CommonArguments(plugins=(Path("p"), Path("q")))
    )
    assert read(DataArguments) == DataArguments() and read(
        DataArguments, "check", "pets", "--split-seed=4"
    ) == DataArguments("check", "pets", split_seed=4)
    assert read(PredictArguments, "--no-json", "a", "b") == PredictArguments(Path("a"), ("b",))
    weights = read(WeightsArguments, "import", "f", "--as", "lenet-5", "--from", "timm")
    assert (weights.as_, weights.from_) == ("lenet-5", "timm")


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (PredictArguments, ["--workers", "two", "a"], "--workers is 'two'; it must be a whole number"),
        (PredictArguments, ["a", "--workers"], "--workers needs a value"),
        (TrainArguments, ["a", "--out", ""], "--out is empty; give a value or drop the option"),
        (EvaluateArguments, ["a", "--data="], "--data is empty; give a value or drop the option"),
        (PredictArguments, [], "imclass verb requires MODEL"),
        (CompareArguments, ["a", "b", "c"], "unexpected argument 'c'"),
        (PredictArguments, ["a", "--wokers", "2"], "unknown option --wokers; did you mean '--workers'?"),
        (PredictArguments, ["a", "--format", "xml"], "--format is 'xml'; it must be one of 'table', 'csv', 'json'"),
        (
            PredictArguments,
            ["run", "source=pets"],
            "the file source=pets does not exist; to set an option, write --source pets",
        ),
        (
            EvaluateArguments,
            ["run", "-d", "pets"],
            "unknown option -d: options begin with two dashes, as in --data",
        ),
        (
            PredictArguments,
            ["run", "-x"],
            "unknown option -x: options begin with two dashes, as in --data; to pass a file with this name, write ./-x",
        ),
        (TrainArguments, ["--style", "line"], "--style is 'line'; it must be one of 'bar', 'book', 'book-2016'"),
    ],
)
def test_the_message_names_the_mistake(kind: type, words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(kind, *words)
    assert str(caught.value).startswith(message)


def test_a_file_may_be_named_like_an_option_of_another_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.png").touch()
    assert read(PredictArguments, "run", "a=b.png", "./-x.png").paths == ("a=b.png", "./-x.png")
    assert read(PredictArguments, "run", "--", "-x.png").paths == ("-x.png",)
    assert scan(["--schedule.rate", "-1e-3", "-inf", "-.5"])[1] == [("schedule.rate", ["-1e-3", "-inf", "-.5"])]


def test_patterns_of_layers_are_kept_as_typed() -> None:
    words = [
        "--rates.*",
        "0",
        "--rates.no_norm-1",
        "1",
        "--stages.1.rates.a-b=.5",
        "--save-every",
        "3",
        "--rates.*",
        "2",
    ]
    found = parse(TrainArguments, ["r", *words], "imclass train")[1]
    assert [*found.items()] == [
        ("rates.no_norm-1", ("1",)), ("stages.1.rates.a-b", (".5",)), ("save_every", ("3",)), ("rates.*", ("2",)),
    ]  # fmt: skip
