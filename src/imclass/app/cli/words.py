"""The command-line parser, which turns words into the arguments of a verb and the options for config fields."""

import dataclasses
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from imclass.app.cli.arguments import CommonArguments, TrainArguments
from imclass.app.cli.syntax import mark_of
from imclass.core.codec import hints_of
from imclass.core.errors import UserError
from imclass.core.override import NAME_KEY, Words, convert_value, option_of
from imclass.core.text import suggestion

SHORT_OPTION = re.compile(r"-[A-Za-z](?!nf)")  # as in other tools: "-b", "-j8"; but not "-1" or "-inf"
BARE_OPTION = re.compile(r"([a-z][\w.-]*)=(.+)", re.IGNORECASE)  # as in other tools: "epochs=3"


def scan(words: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the positional words, and a pair for each option: its key and the words up to the next option.

    Words between "--key=value" and the next option are positional, and so are all words after "--". A leading "~" is
    expanded to the home folder, because the shell does not expand it in "--out=~/run".
    """
    positions: list[str] = []
    options: list[tuple[str, list[str]]] = []
    taken = positions
    for i, word in enumerate(words):
        if word == "--":
            return [*positions, *words[i + 1 :]], options
        if SHORT_OPTION.match(word):
            why = f"unknown option {word}: options begin with two dashes, as in --data"
            raise UserError(f"{why}; to pass a file with this name, write ./{word}")
        if word.startswith("--"):
            name, equals, attached = word[2:].partition("=")
            key = name if NAME_KEY.fullmatch(name) else name.replace("-", "_")
            options.append((key, [os.path.expanduser(attached)] if equals else []))
            taken = positions if equals else options[-1][1]
        else:
            taken.append(os.path.expanduser(word))
    return positions, options


def parse(
    kind: type, words: Sequence[str], program: str, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> tuple[Any, dict[str, Words]]:
    """Return the arguments of a verb as an instance of `kind`, and the options that are not fields of `kind`.

    An option of `kind` takes at most one word, and a flag takes none. Further words are positional. "--no-X" sets X to
    false. Raise `UserError` for a missing or unexpected word, and for any option in `elsewhere`, a table that maps the
    options of other tools to advice. Options are checked before positional words, so that "--model M" is reported as an
    unknown option rather than as a missing MODEL.
    """
    hints = option_hints(kind)
    values: dict[str, Any] = {}
    others: dict[str, Words] = {}
    positions, options = scan(words)
    for key, given in options:
        path, dot, last = key.rpartition(".")
        negative = last.startswith("no_") and not NAME_KEY.fullmatch(key)
        if negative:
            key, given = path + dot + last.removeprefix("no_"), ["false", *given]
        if key not in hints:
            if key in elsewhere:
                raise UserError(f"unknown option --{key.replace('_', '-')}: {elsewhere[key]}")
            others.pop(key, None)  # the last occurrence of an option counts
            others[key] = Words(given)
            continue
        room = 0 if hints[key] is bool and not negative else 1
        positions += given[room:]
        value = convert_value(hints[key], Words(given[:room]), key)
        values[key] = (*values.get(key, ()), *value) if typing.get_origin(hints[key]) is tuple else value
    if not takes_pairs(kind):
        for word in positions:
            check_position(word)
    return fill_arguments(kind, positions, values, program), others


def takes_pairs(kind: type) -> bool:
    """Return whether a positional argument of a verb may be a NAME=VALUE pair."""
    return any(mark_of(hint).pairs for hint in typing.get_type_hints(kind, include_extras=True).values())


def check_position(word: str) -> None:
    """Raise `UserError` if a word is an option without dashes, such as "epochs=3", and no file has that name."""
    pair = BARE_OPTION.fullmatch(word)
    if pair and not os.path.lexists(word):
        option = f"--{pair[1].replace('_', '-')} {pair[2]}"
        raise UserError(f"the file {word} does not exist; to set an option, write {option}")


def fill_arguments(kind: type, positions: Sequence[str], values: dict[str, Any], program: str) -> Any:
    """Return an instance of `kind`, with its fields set from the positional words and the options."""
    left, hints, made = list(positions), typing.get_type_hints(kind, include_extras=True), {}
    for field in dataclasses.fields(kind):
        name, mark = field.name.rstrip("_"), mark_of(hints[field.name])
        if field.name == "common":
            made["common"] = CommonArguments(**{n: values[n] for n in hints_of(CommonArguments) if n in values})
        elif name in values:
            made[field.name] = values[name]
        elif mark.positional:
            hint = hints_of(kind)[field.name]
            many = typing.get_origin(hint) is tuple
            taken, left = (left, []) if many else (left[:1], left[1:])
            if taken or many:
                made[field.name] = convert_value(hint, Words(taken), name)
            elif field.default is dataclasses.MISSING:
                raise UserError(f"{program} requires {mark.value}; {program} --help describes the arguments")
    if left:
        advice = f"{program} --help lists the arguments"
        if os.path.isdir(left[0]) and ("data" in hints or kind is TrainArguments):
            advice = f"to use a folder of images, pass --data {left[0]}"
        raise UserError(f"unexpected argument {left[0]!r}; {advice}")
    return kind(**made)


def option_hints(kind: type) -> dict[str, Any]:
    """Return the type of each option of an argument class, including the options common to all verbs."""
    marked = typing.get_type_hints(kind, include_extras=True)
    options = [name for name, hint in marked.items() if not mark_of(hint).positional]
    hints = {name.rstrip("_"): hints_of(kind)[name] for name in options if name != "common"}  # "from_" is --from
    return hints | hints_of(CommonArguments)


def option_error(key: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown option. The message suggests a similar known option, if there is one."""
    option, *options = map(option_of, (key, *known))
    return UserError(f"unknown option {option}{suggestion(option, options)}")
