"""Each help fits a screen, with a line for each option, and says what the reference says."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from imclass.app.cli.arguments import VERBS, CommonArguments
from imclass.app.cli.help import bold, heading, help_row, overview, verb_help, width
from imclass.app.cli.main import main
from imclass.app.cli.syntax import Arg, Argument, syntax_of
from imclass.app.cli.words import option_hints
from imclass.app.settings.configure import recipes

LONGEST_SCREEN = 40  # lines


def problems(text: str, columns: int) -> Iterator[str]:
    """Yield what keeps a help from being read at a glance in a terminal of this width."""
    lines = text.splitlines()
    if len(lines) > LONGEST_SCREEN:
        yield f"has {len(lines)} lines"
    yield from (f"is wider than the terminal: {line}" for line in lines if len(line) > columns)
    if columns >= 100:
        yield from (f"has two lines for one argument: {line}" for line in lines if line.startswith(" " * 8))


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_a_screen(verb: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert list(problems(verb_help(verb, VERBS[verb]) if verb else overview(), columns)) == []


@dataclass(frozen=True)
class Wordy:
    """Do a thing."""

    size: int = 3
    """Number of pixels of the shorter side of the image after it was resized, which is a sentence without an end."""
    common: CommonArguments = CommonArguments()


def test_a_help_that_does_not_fit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    (found,) = problems(verb_help("wordy", Wordy), 100)
    assert found.startswith("has two lines for one argument")
    many = "\n".join([verb_help("wordy", Wordy), *("  --option" for _ in range(LONGEST_SCREEN))])
    assert len(list(problems(many, 100))) == 2
    assert next(problems("x" * 81, 80)).startswith("is wider")


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_on_the_screen_and_has_a_text(verb: str) -> None:
    syntax = syntax_of(VERBS[verb])
    shown = verb_help(verb, VERBS[verb])
    names = {f"--{name.replace('_', '-')}" for name in option_hints(VERBS[verb])}
    every = [*syntax.options, *syntax_of(CommonArguments).options]
    assert {option.name for option in every} == names and all(name in shown for name in names)
    assert all(len(argument.summary) > 10 for argument in (*every, *syntax.positional)), verb
    assert syntax.summary in overview().replace("\n" + " " * 13, " ")


def test_the_first_sentence_is_the_short_help() -> None:
    argument = Argument("--rate", "N", "number", (), "0.1", "Rate of learning. It is halved at each plateau.")
    assert (argument.label, argument.summary) == ("--rate N", "Rate of learning")


@dataclass(frozen=True)
class Marked:
    """Do another thing."""

    sizes: Annotated[tuple[int, ...], Arg("N ...", "all", "Sizes in\n        pixels.", positional=True)] = ()
    mode: Literal["a", "b"] = "a"
    """Mode."""


def test_a_text_may_stand_in_the_mark_or_below_the_field() -> None:
    (wordy,) = syntax_of(Wordy).options
    assert (wordy.label, wordy.type, wordy.default) == ("--size N", "integer", "3")
    marked = syntax_of(Marked)
    assert marked.positional == (Argument("", "N ...", "integer", (), "all", "Sizes in pixels."),)
    assert marked.options == (Argument("--mode", "a|b", "choice", ("a", "b"), "a", "Mode."),)
    assert marked.usage("do") == "imclass do N ... [options]"


@pytest.mark.parametrize(("columns", "expected"), [("1", 40), ("80", 80), ("300", 100), ("x", 80)])
def test_help_has_a_readable_width(columns: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width() == expected


def test_a_narrow_terminal_has_texts_below_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert help_row("--an-option VALUE", "text", 30) == "  --an-option VALUE\n      text"


@pytest.mark.parametrize(
    ("terminal", "variables", "styled"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_only_terminals_get_styles(
    terminal: bool, variables: dict[str, str], styled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[1m" in bold("a")) == styled and ("\x1b[" in heading("a")) == styled


@pytest.mark.parametrize("recipe", sorted(recipes().entries))
def test_the_fields_of_every_recipe_are_listed(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", recipe, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--seed 0" in shown
    assert any(
        option in shown for option in ("--stages.0.kind", "--kind", "--parts.linear-svm.folds", "--parts.averaged-sgd.")
    )


def test_a_stage_lists_only_the_fields_that_it_uses(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "finetune", "--help"])
    shown = capsys.readouterr().out
    assert "--stages.0.solver.folds 5" in shown and "--stages.0.batch" not in shown
    assert "--stages.1.batch 32" in shown and "--stages.1.rates.head 1.0" in shown
