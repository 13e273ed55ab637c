"""The command reference, docs/commands.md, from the same texts as the help. `make reference` writes the page."""

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from imclass.app.cli.arguments import DONE, FAULT, INTERRUPTED, SOME_REFUSED, USER_ERROR, VERBS, CommonArguments
from imclass.app.cli.syntax import Argument, syntax_of

PAGE_COLUMNS = 118
OPTION = re.compile(r"--[a-z][\w-]*(?: (?:include|train))?")
EXIT_CODES: Mapping[int, str] = MappingProxyType(
    {
        DONE: "Done.",
        SOME_REFUSED: "Done, but some images could not be used. They are listed, and left out.",
        USER_ERROR: "A mistake in the command, a file or the data. The message names it, and the fix.",
        FAULT: "A fault of imclass. The message gives the address to report it to.",
        INTERRUPTED: "Interrupted. A training run saves its state first, and the same command continues it.",
    }
)
INTRODUCTION = """\
# Commands

Every verb of `imclass`, with all of its arguments. `imclass VERB --help` prints them in short, and `imclass --version`
prints the version. This page is written by `make reference`, from the same texts.
"""
SPELLING = """\
## How a command is written

    imclass VERB [arguments] [options]

Options may stand anywhere after the verb. `--batch 8` and `--batch=8` are equal, and so are `--save-scores` and
`--save_scores`. A flag stands alone; `--no-strict` turns it off again. After `--` every word is an argument. A list
takes several words: `--model.mean 0.5 0.5 0.5`.

A MODEL is the folder of a run, of one of its legs (`RUN/legs/NN-NAME`) or of a checkpoint; a model file
(`.safetensors`); or published weights, as NETWORK:WEIGHTS. A run that is not finished stands for its newest checkpoint.
"""


def reference() -> str:
    """Return the whole page."""
    contents = [f"- [`imclass {verb}`](#imclass-{verb}): {syntax_of(kind).summary}." for verb, kind in VERBS.items()]
    common = "\n".join(["## Options of every verb\n", *map(item, syntax_of(CommonArguments).options)])
    verbs = [verb_section(verb, kind) for verb, kind in VERBS.items()]
    return "\n".join([INTRODUCTION, *contents, "", SPELLING, common, "", *verbs, exit_codes()])


def verb_section(verb: str, kind: type) -> str:
    """Return the section of one verb."""
    syntax = syntax_of(kind)
    parts = [f"## imclass {verb}", *map(paragraph, syntax.about.split("\n\n")), f"    {syntax.usage(verb)}"]
    parts += argument_list("Arguments", syntax.positional) + argument_list("Options", syntax.options)
    return "\n\n".join(parts) + "\n"


def argument_list(title: str, arguments: Sequence[Argument]) -> list[str]:
    """Return a heading and a list of arguments; nothing if there are none."""
    return [f"{title}:", "\n".join(map(item, arguments))] if arguments else []


def item(argument: Argument) -> str:
    """Return an argument as an item of a list: how it is typed, its type and default, its text."""
    facts = [argument.type, f"default: {argument.default}"] if argument.default else [argument.type]
    return wrap_markdown(f"- `{argument.label}` ({', '.join(facts)}). {quote_options(argument.text)}", "  ")


def paragraph(text: str) -> str:
    """Return a paragraph of a description; indented lines stay as they are."""
    return text if text.startswith(" ") else wrap_markdown(quote_options(" ".join(text.split())))


def wrap_markdown(text: str, indent: str = "") -> str:
    """Return a text in lines of the page's width."""
    return textwrap.fill(text, PAGE_COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def quote_options(text: str) -> str:
    """Return a text whose options stand in backquotes."""
    pieces = text.split("`")
    pieces[::2] = [OPTION.sub(r"`\g<0>`", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def exit_codes() -> str:
    """Return the section on exit codes."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(reference())
