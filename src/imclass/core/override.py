"""Overrides of config fields by dotted key, for the command line and for Python, such as {"schedule.rate": 0.1}."""

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, TypeVar

from imclass.core.codec import (
    NO_KINDS,
    Kinds,
    class_of,
    flatten,
    from_json,
    hints_of,
    item_of,
    to_json,
    type_description,
    unknown_field_error,
)
from imclass.core.errors import UnknownKey, UserError
from imclass.core.text import suggestion

T = TypeVar("T")
NAME_KEY = re.compile(r"(?:(?:stages\.\d+\.)?rates|costs)\..+", re.DOTALL)  # ends in a layer pattern or a class
NONE_WORD = "none"  # stands for an empty list of kinds, and for the kind of an optional field that is left out


class Words(tuple[str, ...]):
    """A value as typed on the command line, to be parsed according to the type of its field."""


def override(config: T, changes: Mapping[str, Any], kinds: Kinds = NO_KINDS) -> T:
    """Return `config` with new values at dotted keys, such as {"schedule.rate": 0.1} or {"stages.1.epochs": 5}.

    - A key that begins with a field of the stages applies to every stage that uses the field.
    - A new kind, or an optional field that was unset, starts from its defaults. Other keys then set its fields.
      The kind "none" removes an optional field, as in {"average.kind": "none"}, and so does {"average": None}.
    - The part of a key after the name of a dict field is a key in that dict. Such keys are applied in the order of
      `changes`.
    - {"augment": ("flip", "pad")} sets a list of kinds. {"augment.pad.pixels": 2} sets a field in each "pad" entry, and
      first adds such an entry if the list has none.

    If anything is wrong, raise a `UserError` that names the offending key.
    """
    record = to_json(config)
    root = type(config)
    lists = {name for item in items_of(root) for name, hint in hints_of(item).items() if item_of(hint) in kinds}
    for key in sorted(changes, key=lambda key: priority(root, key, lists)):
        for path in full_keys(root, record, key, kinds):
            set_value(root, record, path.split("."), changes[key], key, kinds)
    return typing.cast(T, from_json(root, record, "", kinds))


def items_of(root: type) -> list[type]:
    """Return each dataclass that a config contains in a tuple, such as `Stage`."""
    return [item for item in map(item_of, hints_of(root).values()) if item is not None]


def priority(root: type, key: str, lists: Set[str]) -> tuple[bool, bool, int]:
    """Return a sort key that puts config keys into the order in which they are applied.

    Kinds and lists of kinds come first, then other fields from the outermost inwards, then keys of dicts. The latter
    keep the order in which the user wrote them, because the last pattern that matches a layer wins.
    """
    if is_in_dict(root, key):
        return True, True, 0
    return False, key.split(".")[-1] not in {"kind", *lists}, key.count(".")


def is_in_dict(root: type, key: str) -> bool:
    """Return whether a key, such as "rates.head.*", denotes an entry of a dict field."""
    kind: Any = root
    for name in key.split("."):
        if typing.get_origin(kind) is dict:
            return True
        if item_of(kind):
            kind = item_of(kind)
            continue
        hints = hints_of(without_none(kind)) if dataclasses.is_dataclass(without_none(kind)) else {}
        if kind is root:
            for item in items_of(root):
                hints = hints_of(item) | hints
        kind = hints.get(name)
    return False


def option_of(key: str) -> str:
    """Return the option for a key: hyphens replace underscores, except in the names of layers and classes."""
    return f"--{key if NAME_KEY.fullmatch(key) else key.replace('_', '-')}"


def is_optional(kind: Any) -> bool:
    """Return whether a type is that of an optional field: a union with None."""
    return typing.get_origin(kind) in (types.UnionType, typing.Union)


def without_none(kind: Any) -> Any:
    """Return the type of an optional field, with None removed."""
    if is_optional(kind):
        return next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def full_keys(root: type, record: Mapping[str, Any], key: str, kinds: Kinds) -> list[str]:
    """Return the full keys that a key stands for.

    A key that begins with a field of the stages stands for one key in each stage that uses the field. If no stage
    uses the field, the key stands for one key in every stage.
    """
    hints = hints_of(root)
    first = key.split(".")[0]
    if first in hints:
        return [key]
    for name, hint in hints.items():
        item = item_of(hint)
        if item is not None and first in hints_of(item):
            takes = getattr(item, "takes_field", lambda *_: True)
            numbers = [i for i, entry in enumerate(record[name]) if takes(entry, first)]
            return [f"{name}.{i}.{key}" for i in numbers or range(len(record[name]))]
    known = keys_of(root, record, kinds)
    raise UnknownKey(f"{root.__name__} has no field {key!r}{suggestion(key, known)}", key, known)


def keys_of(root: type, record: Mapping[str, Any], kinds: Kinds) -> set[str]:
    """Return all dotted keys that a config may have. They include the fields of every kind, and omit stage numbers."""
    known = {re.sub(r"^\w+\.\d+\.", "", key) for key in flatten(record)}
    for item in items_of(root):
        for name, hint in hints_of(item).items():
            base = without_none(hint)
            entries = kinds[base].entries.values() if base in kinds else ()
            known |= {f"{name}.{field}" for kind in entries for field in hints_of(kind)}
            entry = item_of(hint)
            listed = kinds[entry].entries.items() if entry and entry in kinds else ()
            known |= {f"{name}.{tag}.{field}" for tag, kind in listed for field in hints_of(kind)}
    return known


def set_value(kind: Any, record: Any, names: Sequence[str], value: Any, key: str, kinds: Kinds) -> None:
    """Set one value in a JSON record of type `kind`. The value is checked against the type of its field."""
    name, rest = names[0], names[1:]
    item = item_of(kind)
    if item and item in kinds and not name.isdigit():
        set_in_entries(item, record, names, value, key, kinds)
        return
    if item is not None:
        if not name.isdigit() or int(name) >= len(record):
            numbers = f"the number may be 0 to {len(record) - 1}" if record else "the list is empty"
            raise UserError(f"there is no {key!r}; {numbers}")
        set_value(item, record[int(name)], rest, value, key, kinds)
        return
    if typing.get_origin(kind) is dict:
        inner = typing.get_args(kind)[1]
        entry = ".".join(names)
        record.pop(entry, None)  # the key set last must come last, because the last matching pattern wins
        if inner is not Any:
            value = from_json(inner, convert_value(inner, value, key), option_of(key), kinds)
        record[entry] = value
        return
    kind = without_none(kind)
    if name == "kind" and kind in kinds and not rest:
        replace_kind(kind, record, convert_value(str, value, key), kinds)
        return
    if kind in kinds and not record:
        field = option_of(key.removesuffix(".".join(names)) + "kind")
        raise UserError(f"{option_of(key)} needs {field} as well; choose one of: {known_kinds(kind, kinds)}")
    chosen = class_of(kind, record, key, kinds)
    hints = hints_of(chosen)
    if name not in hints:
        raise unknown_field_error(kind, chosen, key, name, kinds)
    if rest == ["kind"] and is_optional(hints[name]) and is_none(value):
        record[name] = None
        return
    if rest and record.get(name) is None and dataclasses.is_dataclass(without_none(hints[name])):
        record[name] = {}
    if not rest:
        option = option_of(key)
        if item_of(hints[name]) in kinds and (words := words_of(value)) is not None:
            record[name] = entries_of(item_of(hints[name]), words, record[name], option, kinds)
            return
        record[name] = to_json(from_json(hints[name], to_json(convert_value(hints[name], value, key)), option, kinds))
    elif isinstance(record[name], dict | list):
        set_value(hints[name], record[name], rest, value, key, kinds)
    else:
        above = ".".join(key.split(".")[: -len(rest)])
        raise UnknownKey(f"{above} has no field {rest[0]!r}", key, [above])


def set_in_entries(item: type, record: list[Any], names: Sequence[str], value: Any, key: str, kinds: Kinds) -> None:
    """Set a field in all entries of one kind in a list of kinds.

    If the list has no entry of that kind, append one first.
    """
    name, rest = names[0], names[1:]
    if name not in kinds[item].entries:
        name = name.replace("_", "-")  # the command line replaces all hyphens in keys, and kinds may have hyphens
    fields = hints_of(class_of(item, {"kind": name}, key, kinds))
    if not rest and value != Words():
        options = " or ".join(option_of(f"{key}.{field}") for field in fields)
        raise UserError(f"{option_of(key)} does not accept a value; set one of its fields: {options}")
    if name not in [entry["kind"] for entry in record]:
        record.append({"kind": name})
    for entry in record:
        if entry["kind"] == name and rest:
            set_value(item, entry, rest, value, key, kinds)


def words_of(value: Any) -> Sequence[str] | None:
    """Return the names of kinds in a value. If the value contains entries instead of names, return None."""
    words = (value,) if isinstance(value, str) else value
    names = isinstance(words, list | tuple) and all(isinstance(word, str) for word in words)
    return words if names and (words or isinstance(value, Words)) else None


def is_none(value: Any) -> bool:
    """Return whether a value is the single word "none"."""
    return tuple(words_of(value) or ()) == (NONE_WORD,)


def entries_of(item: Any, words: Sequence[str], before: list[Any], option: str, kinds: Kinds) -> list[Any]:
    """Return entries of the kinds in `words`, or an empty list if "none" is the only word.

    If `before` already has an entry of a kind, it is used with its fields unchanged.
    """
    if not words:
        known = known_kinds(item, kinds)
        raise UserError(f"{option} needs a value: kinds in order, or none. The kinds are: {known}")
    if is_none(words):
        return []
    if NONE_WORD in words:
        raise UserError(
            f"{option} is {' '.join(words)!r}; 'none' cannot be combined with other kinds; remove 'none' or the others"
        )
    unused = list(before)
    entries = []
    for word in words:
        class_of(item, {"kind": word}, option, kinds)
        found = next((entry for entry in unused if entry["kind"] == word), {"kind": word})
        unused = [entry for entry in unused if entry is not found]
        entries.append(found)
    return entries


def known_kinds(union: Any, kinds: Kinds) -> str:
    """Return the names of all kinds of a union, separated by commas."""
    return ", ".join(sorted(kinds[union].entries))


def replace_kind(kind: Any, record: dict[str, Any], name: str, kinds: Kinds) -> None:
    """Set the kind of a record to `name`. If the kind changes, remove all other fields."""
    if record.get("kind") != name:
        class_of(kind, {"kind": name}, "", kinds)
        record.clear()
        record["kind"] = name


def convert_value(kind: Any, value: Any, key: str) -> Any:
    """Convert a value for a field of type `kind`: parse words, and turn NumPy scalars into plain numbers."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    if not isinstance(value, Words):
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if item_of(kind) or dataclasses.is_dataclass(without_none(kind)):
        raise UserError(f"{option_of(key)} does not accept a value; set one of its fields: {field_options(kind, key)}")
    if origin is tuple:
        item_types = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(item_types) != len(value):
            raise UserError(f"{option_of(key)} is {' '.join(value)!r}; it must be {type_description(kind)}")
        return tuple(convert_value(k, Words((word,)), key) for k, word in zip(item_types, value, strict=True))
    if origin is dict:
        raise UserError(f"{option_of(key)} does not accept a value; set one by name: {option_of(key)}.NAME VALUE")
    if kind is bool and not value:
        return True
    if not value:
        raise UserError(f"{option_of(key)} needs a value: {type_description(kind)}")
    word = " ".join(value)
    optional = is_optional(kind)
    kind = without_none(kind)
    if not word and (optional or kind is Path):  # an empty path would mean the current folder
        raise UserError(f"{option_of(key)} is empty; give a value or drop the option")
    parsed = parse_word(kind, word)
    if parsed is None or len(value) > 1:
        raise UserError(f"{option_of(key)} is {word!r}; it must be {type_description(kind)}")
    return parsed


def field_options(kind: Any, key: str) -> str:
    """Return, as text, the options for the fields of a dataclass, or of the first item in a tuple of dataclasses."""
    item = item_of(kind)
    owner = item or without_none(kind)
    names = [*hints_of(owner)]
    if getattr(owner, "kind", None) == "":  # a union's base class; each of its kinds has further fields
        names = ["kind", *names]
    return ", ".join(option_of(f"{key}.0.{name}" if item else f"{key}.{name}") for name in names)


def parse_word(kind: Any, word: str) -> Any:
    """Parse a word as a value of a plain type. Return None if that is not possible."""
    if typing.get_origin(kind) is Literal:
        return next((choice for choice in typing.get_args(kind) if str(choice) == word), None)
    if kind is bool:
        return {"true": True, "false": False}.get(word.lower())
    try:
        return kind(word)
    except ValueError:
        return None
