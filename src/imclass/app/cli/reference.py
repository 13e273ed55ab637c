"""The command reference, docs/commands.md, generated from the help texts by `make reference`."""

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
        SOME_REFUSED: "Done, but some images could not be used. They are listed and left out.",
        USER_ERROR: "An error in the command, a file or the data. The message states the problem and the fix.",
        FAULT: "A bug in imclass. The message says where to report it.",
        INTERRUPTED: "Interrupted. A training run saves its state first; run the same command again to resume it.",
    }
)
INTRODUCTION = """\
# Commands

Every verb of `imclass`, with all of its arguments. `imclass VERB --help` prints a short form, and `imclass --version`
prints the version. This page is generated from the same texts by `make reference`.
"""
SPELLING = """\
## How a command is written

    imclass VERB [arguments] [options]

Options can be placed anywhere after the verb. `--batch 8` and `--batch=8` are equivalent, and so are `--save-scores`
and `--save_scores`. A flag takes no value; `--no-strict` turns `--strict` off again. After `--`, every word is an
argument. A list is given as several words: `--model.mean 0.5 0.5 0.5`.

A MODEL is the folder of a run, of one of its legs (`RUN/legs/NN-NAME`) or of a checkpoint; a model file
(`.safetensors`); or published weights, as NETWORK:WEIGHTS. For an unfinished run, its newest checkpoint is used.
"""


def reference() -> str:
    """Return the text of docs/commands.md."""
    contents = [f"- [`imclass {verb}`](#imclass-{verb}): {syntax_of(kind).summary}." for verb, kind in VERBS.items()]
    common = "\n".join(["## Options of every verb\n", *map(item, syntax_of(CommonArguments).options)])
    verbs = [verb_section(verb, kind) for verb, kind in VERBS.items()]
    return "\n".join([INTRODUCTION, *contents, "", SPELLING, common, "", *verbs, exit_codes()])


def verb_section(verb: str, kind: type) -> str:
    """Return the section on one verb."""
    syntax = syntax_of(kind)
    parts = [f"## imclass {verb}", *map(paragraph, syntax.about.split("\n\n")), f"    {syntax.usage(verb)}"]
    parts += argument_list("Arguments", syntax.positional) + argument_list("Options", syntax.options)
    return "\n\n".join(parts) + "\n"


def argument_list(title: str, arguments: Sequence[Argument]) -> list[str]:
    """Return a heading and a Markdown list of the arguments, or [] if there are no arguments."""
    return [f"{title}:", "\n".join(map(item, arguments))] if arguments else []


def item(argument: Argument) -> str:
    """Return an argument as a list item: its spelling, type, default and text."""
    facts = [argument.type, f"default: {argument.default}"] if argument.default else [argument.type]
    return wrap_markdown(f"- `{argument.label}` ({', '.join(facts)}). {quote_options(argument.text)}", "  ")


def paragraph(text: str) -> str:
    """Return a paragraph of a description, wrapped unless it is indented."""
    return text if text.startswith(" ") else wrap_markdown(quote_options(" ".join(text.split())))


def wrap_markdown(text: str, indent: str = "") -> str:
    """Return a text wrapped to the page's width."""
    return textwrap.fill(text, PAGE_COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def quote_options(text: str) -> str:
    """Return a text with its options in backquotes."""
    pieces = text.split("`")
    pieces[::2] = [OPTION.sub(r"`\g<0>`", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def exit_codes() -> str:
    """Return the section on exit codes."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(reference())
