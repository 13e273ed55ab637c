"""Words of the command line as options and positions, and as the fields of a verb's argument class."""

import dataclasses
import os
import typing
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tyro.conf import Positional

from imclass.app.cli.arguments import Common
from imclass.core.codec import Words, hints_of, typed
from imclass.core.errors import UserError
from imclass.core.text import nearest

POSITION = typing.get_args(Positional[int])[1]  # how tyro marks a field that is no option
REPEATED = ("plugins",)  # each takes one word, and all are kept


def scan(words: Sequence[str], kind: type | None = None) -> tuple[list[str], dict[str, Any]]:
    """Return the words that are no option's, and each option's: by name, its words, or False after "no-".

    An option takes as many words as its field in `kind` holds; without a `kind`, all up to the next option. A leading
    "~" is the user's home, in words where a shell leaves it as it is, too: "--out=~/run".
    """
    left = deque(map(expanded, words))
    positions: list[str] = []
    options: dict[str, Any] = {}
    while left:
        word = left.popleft()
        if word == "--":
            return [*positions, *left], options
        if not word.startswith("--"):
            positions.append(word)
            continue
        name, equals, attached = word[2:].partition("=")
        *path, last = name.replace("-", "_").split(".")
        key, most = ".".join([*path, last.removeprefix("no_")]), None
        if kind is not None:
            most = room(kind, key)
        taken = [attached] if equals else []
        while not equals and left and not left[0].startswith("--") and (most is None or len(taken) < most):
            taken.append(left.popleft())
        if key in REPEATED and key in options:
            taken = [*options[key], *taken]
        options[key] = False if last.startswith("no_") else Words(taken)
    return positions, options


def expanded(word: str) -> str:
    """Return a word, or the value in "--option=value", with the user's home for a leading "~"."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + os.path.expanduser(value)


def room(kind: type, key: str) -> int | None:
    """Return how many words an option takes, None for any number; an unknown one is a `UserError`."""
    hints = option_hints(kind)
    if key not in hints:
        option = key.replace("_", "-")
        known = [f"--{name.replace('_', '-')}" for name in hints]
        raise UserError(f"there is no option --{option}{nearest(f'--{option}', known)}")
    if hints[key] is bool:
        return 0
    many = typing.get_origin(hints[key]) is tuple and key not in REPEATED
    return None if many else 1


def option_hints(kind: type) -> dict[str, Any]:
    """Return the type of each option of an argument class, those that are common to all verbs included."""
    own = {name.rstrip("_"): hint for name, hint in hints_of(kind).items()}  # "from_" is --from
    return {k: v for k, v in own.items() if v is not Common and k not in positional(kind)} | hints_of(Common)


def positional(kind: type) -> list[str]:
    """Return the names of the fields that are filled by position."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return [f.name for f in dataclasses.fields(kind) if POSITION in getattr(hints[f.name], "__metadata__", ())]


def metavar(kind: type, name: str) -> str:
    """Return what a position is called in the help."""
    marks = typing.get_type_hints(kind, include_extras=True)[name].__metadata__
    return next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), name.upper())


def filled(kind: type, positions: Sequence[str], options: Mapping[str, Any], program: str) -> Any:
    """Return the argument class with what was typed; a word too few or too many is a `UserError`."""
    left, values, hints = list(positions), {}, hints_of(kind)
    for field in dataclasses.fields(kind):
        hint, name = hints[field.name], field.name.rstrip("_")
        if hint is Common:
            values[field.name] = filled(Common, (), options, program)
        elif field.name in positional(kind):
            taken, left = (left, []) if typing.get_origin(hint) is tuple else (left[:1], left[1:])
            if taken:
                values[field.name] = typed(hint, Words(taken), name)
            elif field.default is dataclasses.MISSING and typing.get_origin(hint) is not tuple:
                raise UserError(f"{program} needs one more {metavar(kind, field.name)}; {program} --help says more")
            elif field.default is dataclasses.MISSING:
                values[field.name] = ()
        elif name in options:
            values[field.name] = typed(hint, options[name], name)
    if left:
        raise UserError(f"there is nothing to do with {left[0]!r}; {program} --help lists what there is")
    return kind(**values)
