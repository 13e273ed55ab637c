"""The command line's help: the list of verbs, one screen per verb, and the options that a recipe adds."""

import inspect
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imclass.app.cli.arguments import VERBS, CommonArguments, TrainArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.options import base_configs, config_fields, recipe_functions
from imclass.app.cli.syntax import Argument, syntax_of
from imclass.app.cli.words import parse
from imclass.core.codec import Kinds, flatten, hints_of, to_json
from imclass.core.config import AnyPart, Augment, Fitting, RunConfig, Stage, Training
from imclass.core.override import NONE_WORD, option_of
from imclass.core.tables import EntryTable
from imclass.store.context import Context
from imclass.training.kinds import kind_tables

MIN_HELP_COLUMNS, WIDEST = 40, 100  # minimum and maximum width of the help, in columns
FIELD_COLUMN = 45  # where the comments on a recipe's fields begin
MIN_TEXT_COLUMNS = 30  # columns; if a text has less room next to its option, it is printed below
MORE = {
    "--model.FIELD VALUE": "field of the network's row; `imclass models NETWORK` lists them",
    "--rates.LAYER FACTOR": "learning-rate multiplier for layers by name; the last match wins, 0 freezes",
    "--costs.CLASS FACTOR": "loss factor for the images of a class; above 1, mistakes on them cost more",
    "--average.kind KIND": "score and keep an average of the weights: ema, polyak, swa or none",
    "--augment.KIND.FIELD VALUE": "field of an augmentation, which is added to stages that lack it:",
}
MORE_OF_PARTS = {
    "--parts KIND ...": "parts of the pipeline in order; those that the recipe has keep their fields",
    "--parts.KIND.FIELD VALUE": "field of a part:",
}


def overview() -> str:
    """Return the help text for `imclass` itself: one line for each verb and for each option common to all verbs."""
    verbs = {verb: syntax_of(kind).summary for verb, kind in VERBS.items()}
    options = {option.label: brief(option) for option in syntax_of(CommonArguments).options}
    options |= {"-h, --help": "Print the help of a verb", "--version": "Print the version"}
    return "\n\n".join(
        [
            "Image classification from bag of words to residual networks.",
            f"{heading('usage:')} imclass VERB [arguments] [options]",
            section("verbs:", verbs),
            section("options of every verb:", options),
            wrap_text("`imclass VERB --help` describes a verb. docs/commands.md describes every option in full."),
        ]
    )


def verb_help(verb: str, kind: type) -> str:
    """Return the help text for a verb, with a line for each argument."""
    syntax = syntax_of(kind)
    positional = {argument.label: brief(argument) for argument in syntax.positional}
    options = {option.label: brief(option) for option in syntax.options}
    common = ", ".join(option.label for option in syntax_of(CommonArguments).options)
    note = f"options of every verb: {common}. `imclass --help` describes them; docs/commands.md has all details."
    parts = [paragraphs(syntax.about), f"{heading('usage:')} {syntax.usage(verb)}"]
    parts += [section("arguments:", positional)] if positional else []
    parts += [section("options:", options)] if options else []
    return "\n\n".join([*parts, wrap_text(note)])


def brief(argument: Argument) -> str:
    """Return the first sentence of an argument's text, followed by the default value if there is one."""
    return f"{argument.summary} (default: {argument.default})" if argument.default else argument.summary


def section(title: str, rows: Mapping[str, str]) -> str:
    """Return a heading and a line for each row, with the texts aligned in a column."""
    column = max(map(len, rows)) + 4
    return "\n".join([heading(title), *(help_row(label, text, column) for label, text in rows.items())])


def help_row(label: str, text: str, column: int) -> str:
    """Return a label, followed by a text that starts in the given column and is wrapped to the terminal's width."""
    if width() - column < MIN_TEXT_COLUMNS:
        return f"  {bold(label)}\n{wrap_text(text, 6)}"
    first, *others = textwrap.wrap(text, width() - column, break_on_hyphens=False) or [""]
    gap = " " * max(2, column - 2 - len(label))
    return "\n".join([f"  {bold(label)}{gap}{first}".rstrip(), *(" " * column + line for line in others)])


def paragraphs(text: str) -> str:
    """Return a description with each paragraph wrapped to the terminal's width, unless it is indented."""
    return "\n\n".join(
        textwrap.indent(textwrap.dedent(part), "  ") if part.startswith(" ") else wrap_text(part)
        for part in text.split("\n\n")
    )


def wrap_text(text: str, indent: int = 0) -> str:
    """Return a text wrapped to the width of the terminal, without breaking long words."""
    margin = " " * indent
    return textwrap.fill(
        text, width(), initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )


def width() -> int:
    """Return the width of the help on this terminal, in columns."""
    return min(max(MIN_HELP_COLUMNS, shutil.get_terminal_size().columns), WIDEST)


def heading(text: str) -> str:
    """Return a heading, in bold green if standard output supports styles."""
    return f"\x1b[1;32m{text}\x1b[0m" if is_coloured() else text


def bold(text: str) -> str:
    """Return a text, in bold if standard output supports styles."""
    return f"\x1b[1m{text}\x1b[0m" if is_coloured() else text


def is_coloured() -> bool:
    """Return whether standard output supports styles. It must be a terminal, and NO_COLOR must not be set."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def explain(verb: str, words: Sequence[str]) -> None:
    """Print the help for a verb. For `train` with a recipe, also print every field of the recipe's config."""
    lines: list[str] = []
    if verb == "train":
        arguments, _ = parse(TrainArguments, [word for word in words if word not in ("-h", "--help")], "imclass train")
        lines = [] if arguments.recipe is None else ["", *recipe_lines(arguments)]
    print("\n".join([verb_help(verb, VERBS[verb]), *lines]))


def recipe_lines(arguments: TrainArguments) -> Iterator[str]:
    """Yield a line for each option that a recipe adds to those of `imclass train`."""
    context = context_of(arguments.common)
    config, execution = base_configs(arguments, context, {})
    tables, trains = kind_tables(context), isinstance(config, Training)
    yield heading(f"fields of {config.recipe} with their values:")
    for value in (config, execution):
        yield from (help_row(label, text, FIELD_COLUMN) for label, text in field_rows(value, config, tables))
    parameters = dict(parameter_rows(config.recipe, context)) if arguments.config is None else {}
    yield "\n" + section("more options of a recipe:", parameters | (MORE if trains else MORE_OF_PARTS))
    yield from kind_lines(tables[Augment if trains else AnyPart])


def parameter_rows(recipe: str, context: Context) -> Iterator[tuple[str, str]]:
    """Yield an option with its default, and its text, for each parameter of a recipe's function that is not a field."""
    for name, parameter in inspect.signature(recipe_functions(context)[recipe]).parameters.items():
        if name not in config_fields():
            label = f"{option_of(name)} {parameter.default}"
            yield label, f"parameter of the recipe; see `imclass recipes {recipe}` or docs/training.md"


def kind_lines(table: EntryTable) -> list[str]:
    """Return a line for each field of each kind in a table, such as "pad.pixels"."""
    return [f"    {name}.{f}" for name, kind in sorted(table.entries.items()) for f in hints_of(kind)]


def field_rows(value: Any, config: RunConfig, tables: Kinds) -> Iterator[tuple[str, str]]:
    """Yield two texts for each field of a config: the option with its value, and the field's comment in the code."""
    if isinstance(config, Fitting):
        yield from part_rows(value, tables)
        return
    single, record = len(config.stages) == 1, to_json(config)["stages"]
    for key, now in flatten(to_json(value)).items():
        unset = key == "recipe" or key.startswith("model.row") or (single and key == "stages.0.name")
        names = key.split(".")
        unused = names[0] == "stages" and not Stage.takes_field(record[int(names[1])], names[2])
        if now is None or unset or unused:
            continue
        name = (key.removeprefix("stages.0.") if single else key).replace("_", "-")
        shown = (" ".join(map(str, now)) or NONE_WORD) if isinstance(now, list) else str(now)
        yield f"--{name} {shown}".rstrip(), field_comment(value, names, tables)


def part_rows(value: Any, tables: Kinds) -> Iterator[tuple[str, str]]:
    """Yield the texts of `field_rows` for the config of a pipeline's fit, or for an `Execution`."""
    record = to_json(value)
    parts = record.pop("parts", [])
    plain = {f"parts.{i}.{key}": now for i, part in enumerate(parts) for key, now in flatten(part).items()}
    for key, now in {**flatten(record), **plain}.items():
        names = key.split(".")
        if now is None or key == "recipe" or (names[0] == "parts" and names[-1] == "kind" and len(names) == 3):
            continue
        name = ".".join(["parts", parts[int(names[1])]["kind"], *names[2:]]) if names[0] == "parts" else key
        shown = (" ".join(map(str, now)) or NONE_WORD) if isinstance(now, list) else str(now)
        yield f"--{name.replace('_', '-')} {shown}".rstrip(), field_comment(value, names, tables)


def find_item(values: tuple[Any, ...], name: str) -> Any:
    """Return the value at index `name` if `name` is a number, otherwise the value whose kind is `name`."""
    return values[int(name)] if name.isdigit() else next(value for value in values if value.kind == name)


def field_comment(value: Any, names: Sequence[str], tables: Kinds) -> str:
    """Return the comment that follows a field in the source code, or "" if there is none.

    `names` is the path to the field. For a field named `kind`, return the names of all kinds instead. A key of a dict
    has no comment.
    """
    for name in names[:-1]:
        value = find_item(value, name) if isinstance(value, tuple) else getattr(value, name)
        if isinstance(value, dict):
            return ""
    for kind in type(value).__mro__[:-1]:
        if names[-1] == "kind" and kind in tables:
            return f"one of {', '.join(sorted(tables[kind].entries))}"
        found = re.search(rf"^    {names[-1]}: .*?  # (.*)$", inspect.getsource(kind), re.MULTILINE)
        if found:
            return found[1]
    return ""
