"""Every field of a recipe's config as an option of `imclass train`; a recipe of one stage needs no "stages.0."."""

import contextlib
import io
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from imclass.app.cli.arguments import Common, Train
from imclass.app.cli.checks import context_of
from imclass.core.codec import flatten, from_json, from_object, to_json
from imclass.core.config import FORMAT, Execution, Model, Stage, Training
from imclass.core.errors import UserError
from imclass.core.text import nearest
from imclass.store.context import Context, find_in

ROW = "--model.X: fields of the network's row; `imclass models NETWORK` lists them."


@dataclass(frozen=True)
class Order:
    """What `imclass train` was asked to do."""

    training: Training
    execution: Execution
    own: Train
    words: tuple[str, ...]
    context: Context


def read_train(words: list[str], helping: bool) -> Order:
    """`RECIPE [options]` as a config and the verb's own arguments; the recipe's name comes first."""
    if helping and words[0].startswith("-"):
        parsed(Train, ["--help"], "imclass train RECIPE")
    name, rest = (words[0], words[1:]) if words and not words[0].startswith("-") else (None, words)
    asked = [word for word in rest if word not in ("-h", "--help")]
    own, others = parsed(Train, asked, "imclass train RECIPE", return_unknown_args=True)
    context = context_of(own.common)
    config, execution = base(name, own, context)
    if not helping:
        config = with_whole_row(config, others, context)
    return Order(*overridden(config, execution, others + ["--help"] * helping), own, tuple(words), context)


def parsed(kind: type, words: Sequence[str], program: str, **more: Any) -> Any:
    """What the words say, as a `kind`; tyro's box around a mistake becomes a `UserError` of one line."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(kind, args=words, prog=program, **more)
    except SystemExit as stop:
        if not stop.code:  # after help
            raise
        raise UserError(f"{unboxed(told.getvalue())}; {program} --help lists what there is") from None


def unboxed(told: str) -> str:
    """The first paragraph below the title of a box, on one line, its choices in order."""
    lines = [line.strip(" \u2502") for line in told.splitlines()[1:]]
    below = itertools.dropwhile(is_rule, lines)
    first = itertools.takewhile(lambda line: not is_rule(line), below)
    return re.sub(r"\(('.*')\)", in_order, " ".join(first) or told).rstrip(".")


def is_rule(line: str) -> bool:
    """Whether a line only divides; tyro draws it by what the terminal's encoding has."""
    return set(line) <= {"-", "\u2500"}


def in_order(choices: re.Match[str]) -> str:
    """Choices as they were found, sorted; that an option may be absent is none."""
    return ", ".join(sorted(set(choices[1].split(", ")) - {"'None'"}))


def base(name: str | None, own: Train, context: Context) -> tuple[Training, Execution]:
    """The choices before any override: of the named recipe, or of a file."""
    if own.config is not None:
        config, execution = config_in(own.config)
        if name not in (None, config.recipe):
            why = f"--config {own.config} is of the recipe {config.recipe!r}, not {name!r}"
            raise UserError(f"{why}; name that one, or leave --config out")
        return config, execution
    if name is None:
        raise UserError("name the recipe first: imclass train RECIPE [options]; `imclass recipes` lists them")
    config = find_in(context, "imclass.recipes", "RECIPES", "recipe")[name]()
    if not isinstance(config, Training):
        raise UserError(f"the recipe {name!r} returns {type(config).__name__} and not a Training; change its function")
    return config, Execution()


def config_in(file: Path) -> tuple[Training, Execution]:
    """The choices of a run, by its directory or its config.json, or alone; a `UserError` names file and key."""
    try:
        record = json.loads((file / "config.json" if file.is_dir() else file).read_bytes())
    except OSError as error:
        raise UserError(
            f"--config {file} cannot be read: {error.strerror}; give a run's directory or its config.json"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"--config {file} cannot be read as JSON: {error}") from None
    if isinstance(record, dict) and record.get("format", FORMAT) != FORMAT:
        raise UserError(f"--config {file} has format {record['format']}, and this imclass reads {FORMAT}; train again")
    apart = isinstance(record, dict) and "training" in record
    try:
        training = from_object(Training, record["training"] if apart else record, "")
        return training, from_object(Execution, record.get("execution", {}) if apart else {}, "")
    except UserError as error:
        raise UserError(f"--config {file}: {error}") from None


def with_whole_row(config: Training, words: Sequence[str], context: Context) -> Training:
    """Return the config with every field of its network's row, so that each is an option; words may name another."""
    from imclass.models.classifier import resolve

    pairs = zip(words, [*words, ""][1:], strict=True)  # each word and the next
    named = next((word.partition("=")[2] or after for word, after in pairs if is_network(word)), None)
    model = config.model
    if named not in (None, model.network):
        model = replace(model, network=named, row={})
    return replace(config, model=resolve(model, context))


def is_network(word: str) -> bool:
    """Whether a word is the option that names the network."""
    return word.split("=")[0] == "--model.network"


def overridden(config: Training, execution: Execution, words: list[str]) -> tuple[Training, Execution]:
    """The choices with what the words say."""
    single = len(config.stages) == 1
    values = {f.name: getattr(config, f.name) for f in fields(Training) if f.name not in ("recipe", "model", "stages")}
    values |= {f.name: getattr(execution, f.name) for f in fields(Execution)}
    staged = {f.name: getattr(config.stages[0], f.name) for f in fields(Stage)} if single else {"stages": config.stages}
    check_options(words, [*option_names(config, execution, single), *options_of(Train), *options_of(Common)])
    check_numbers(words, config, execution, single)
    kind, default = as_options(config, {**staged, **values})
    read = parsed(kind, words, f"imclass train {config.recipe}", default=default)
    chosen = {name: getattr(read, name) for name in (*staged, *values)}
    stage = {name: chosen.pop(name) for name in staged}
    stages = (Stage(**stage),) if single else stage["stages"]
    model = Model(**{f.name: getattr(read.model, f.name) for f in fields(Model)})
    execution = Execution(**{f.name: chosen.pop(f.name) for f in fields(Execution)})
    return Training(recipe=config.recipe, model=model, stages=stages, **chosen), execution


def as_options(config: Training, values: dict[str, Any]) -> tuple[type, Any]:
    """A class with these values as its fields for tyro, and its default; the row's fields stand beside the model's."""
    hints = {f.name: f.type for f in (*fields(Stage), *fields(Training), *fields(Execution))}
    row = Annotated[dict[str, Any], tyro.conf.arg(name="")]
    kinds = [(f.name, row if f.name == "row" else f.type) for f in fields(Model)]
    model_kind = make_dataclass("Model", kinds, frozen=True)
    model = model_kind(**{f.name: getattr(config.model, f.name) for f in fields(Model)})
    own = [(name, hints[name], field(default=value)) for name, value in values.items()]
    shown = ("train", tyro.conf.OmitArgPrefixes[Train], field(default=Train()))  # for the help: they have been read
    kind = make_dataclass("Options", [shown, ("model", model_kind, field(default=model)), *own], frozen=True)
    kind.__doc__ = "Train. Every field of the recipe's config is an option.\n\n" + ROW
    return kind, kind()


def option_names(config: Training, execution: Execution, single: bool) -> list[str]:
    """The dotted name of every option."""
    return list(option_values(config, execution, single))


def option_values(config: Training, execution: Execution, single: bool) -> dict[str, Any]:
    """The dotted name of every option, and what the config says."""
    values = {}
    for key, value in flatten(to_json(config) | to_json(execution)).items():
        key = key.removeprefix("stages.0.") if single else key
        values[key.replace("model.row.", "model.").replace("_", "-")] = value
    return {name: value for name, value in values.items() if name not in ("recipe", "split.kind")}


def check_numbers(words: Sequence[str], config: Training, execution: Execution, single: bool) -> None:
    """A `UserError` for a word where one number belongs."""
    values = option_values(from_json(Training, to_json(config)), execution, single)  # so that a float's 1 is 1.0
    for word, after in zip(words, [*words, ""][1:], strict=True):
        option, equals, value = word.partition("=")
        kind = type(values.get(option.removeprefix("--").replace("_", "-")))
        given = value if equals else after
        if kind in (int, float) and given and not given.startswith("--") and not is_number(given, kind):
            raise UserError(f"{option} is {given!r}; it must be {'a whole number' if kind is int else 'a number'}")


def is_number(word: str, kind: type) -> bool:
    """Whether Python reads a word as a number of this kind."""
    try:
        kind(word)
    except ValueError:
        return False
    return True


def options_of(kind: type) -> list[str]:
    """The option names of an argument class, without dashes."""
    return [f.name.rstrip("_").replace("_", "-") for f in fields(kind)]  # "from_" is --from


def check_options(words: Sequence[str], known: Sequence[str]) -> None:
    """Every word that begins with two dashes is a known option, or the negation of one."""
    for word in words:
        if word == "--":
            return
        if word.startswith("--"):
            name = word[2:].partition("=")[0].replace("_", "-")
            positive = ".".join([*name.split(".")[:-1], name.split(".")[-1].removeprefix("no-")])
            if name not in (*known, "help") and positive not in known:
                close = nearest(f"--{name}", [f"--{other}" for other in known])
                raise UserError(f"there is no option --{name}{close}")
