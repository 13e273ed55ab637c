"""The help of a verb, and the options that a recipe's config adds to those of `imclass train`."""
# Tested in tests/app/cli/test_main.py

import contextlib
import inspect
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import tyro

from imclass.app.cli.arguments import TrainArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.options import base_configs
from imclass.app.cli.words import parse
from imclass.core.codec import flatten, hints_of, to_json
from imclass.core.config import Augment, Training
from imclass.core.override import EMPTY_LIST_WORD
from imclass.core.tables import EntryTable

MIN_HELP_COLUMNS = 40  # columns of help that can still be read
ROW_HELP = "  --model.X: fields of the network's row; `imclass models NETWORK` lists them"
KINDS_HELP = "  --augment.KIND.X: fields of a kind of augmentation, which is added where a stage has none:"
RATES_HELP = "  --rates.LAYER: factor on the learning rate of layers whose names match; the last match wins, 0 freezes"


def explain(kind: type, program: str) -> None:
    """Print the help of an argument class."""
    with minimum_columns(MIN_HELP_COLUMNS):
        try:
            tyro.cli(kind, args=["--help"], prog=program)
        except SystemExit as stop:  # tyro ends the process after help
            if stop.code:
                raise


@contextlib.contextmanager
def minimum_columns(least: int) -> Iterator[None]:
    """Have the terminal count as at least so wide for the time of a block: in a few columns tyro wraps without end."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(max(least, shutil.get_terminal_size().columns))
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        os.environ |= {} if before is None else {"COLUMNS": before}


def explain_train(words: Sequence[str]) -> None:
    """Print the help of `imclass train` and, where a recipe is named, every option of its config."""
    own, _ = parse(TrainArguments, [word for word in words if word not in ("-h", "--help")], "imclass train")
    explain(TrainArguments, "imclass train")
    if own.recipe is None:
        return
    from imclass.training.kinds import kind_tables  # it imports torch, which help without a recipe can do without

    context = context_of(own.common)
    training, execution = base_configs(own, context)
    print(f"\nEvery field of the config of {training.recipe} is an option, too, and is now:\n")
    lines = [*option_lines(training, training), *option_lines(execution, training)]
    print("\n".join([*lines, ROW_HELP, RATES_HELP, KINDS_HELP, *kind_lines(kind_tables(context)[Augment])]))


def kind_lines(table: EntryTable) -> list[str]:
    """Return a line for each field of every kind of a table."""
    return [f"    {name}.{f}" for name, kind in sorted(table.entries.items()) for f in hints_of(kind)]


def option_lines(value: Any, training: Training) -> list[str]:
    """Return a line for each option of a config: its name, its value and the comment that stands beside its field."""
    lines, single = [], len(training.stages) == 1
    for key, now in flatten(to_json(value)).items():
        unset = key in ("recipe", "split.kind") or key.startswith("model.row") or (single and key == "stages.0.name")
        if now is None or unset:
            continue
        name = (key.removeprefix("stages.0.") if single else key).replace("_", "-")
        shown = (" ".join(map(str, now)) or EMPTY_LIST_WORD) if isinstance(now, list) else str(now)
        lines.append(f"{f'  --{name} {shown}':44} {field_comment(value, key.split('.'))}".rstrip())
    return lines


def find_item(values: tuple[Any, ...], name: str) -> Any:
    """Return the value of a tuple at a number or, in a list of kinds, the one of the kind of this name."""
    return values[int(name)] if name.isdigit() else next(value for value in values if value.kind == name)


def field_comment(value: Any, names: Sequence[str]) -> str:
    """Return the comment beside the field that dotted names lead to; "" where there is none."""
    for name in names[:-1]:
        value = find_item(value, name) if isinstance(value, tuple) else getattr(value, name)
    for kind in type(value).__mro__[:-1]:
        found = re.search(rf"^    {names[-1]}: .*?  # (.*)$", inspect.getsource(kind), re.MULTILINE)
        if found:
            return found[1]
    return ""
