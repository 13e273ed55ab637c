"""docs/commands.md has every argument in full, and is what the code of the command line says."""

from pathlib import Path

import pytest

from imclass.app.cli.arguments import VERBS
from imclass.app.cli.reference import EXIT_CODES, quote_options, reference
from imclass.app.cli.syntax import syntax_of

PAGE = Path(__file__).parents[3] / "docs" / "commands.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "docs/commands.md is stale; run `make reference`"


def test_a_change_of_the_arguments_makes_the_page_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "forecast", VERBS["predict"])
    assert PAGE.read_text() != reference()


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_is_described_in_full(verb: str) -> None:
    section = reference().split(f"\n## imclass {verb}\n")[1].split("\n## ")[0]
    plain = " ".join(section.split()).replace("`", "")
    syntax = syntax_of(VERBS[verb])
    assert syntax.usage(verb) in plain and " ".join(syntax.about.split()).replace("`", "") in plain
    for argument in (*syntax.positional, *syntax.options):
        assert f"- {argument.label} ({argument.type}" in plain and argument.text.replace("`", "") in plain
        assert all(choice in plain for choice in argument.choices) and argument.default in plain


def test_every_exit_code_is_explained() -> None:
    assert sorted(EXIT_CODES) == [0, 1, 2, 70, 75]
    assert all(f"| {code} | {text} |" in reference() for code, text in EXIT_CODES.items())


def test_options_stand_in_backquotes() -> None:
    assert (
        quote_options("see --a-b, `imclass --json` and --split train")
        == "see `--a-b`, `imclass --json` and `--split train`"
    )
