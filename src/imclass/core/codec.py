"""Conversion of frozen dataclasses to and from JSON, checked against the types of their fields.

A dataclass with a `kind` class variable is a member of a tagged union: its JSON begins with the key "kind", and a table
passed in by the caller maps each kind to a class. A file therefore cannot choose which class is imported.
"""

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from imclass.core.errors import UnknownKey, UserError
from imclass.core.tables import EntryTable
from imclass.core.text import suggestion

Kinds: TypeAlias = Mapping[type, EntryTable]  # the table for each tagged union, keyed by the union's base class
NO_KINDS: Kinds = types.MappingProxyType({})


def to_json(value: Any) -> Any:
    """Convert a value that may contain frozen dataclasses to plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        tag = tag_of(type(value))
        plain = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": tag, **plain} if tag else plain
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    return value


def tag_of(kind: type) -> str:
    """Return the `kind` class variable of a dataclass, or "" if it has none or if `kind` is one of its fields."""
    names = {f.name for f in dataclasses.fields(kind)}
    return "" if "kind" in names else str(getattr(kind, "kind", ""))


def hints_of(kind: type) -> dict[str, Any]:
    """Return the type of each field of a dataclass, without bounds."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def from_json(kind: Any, value: Any, where: str = "", kinds: Kinds = NO_KINDS) -> Any:
    """Convert JSON to a value of type `kind`.

    For an unknown field or a wrong type, raise a `UserError` that states the dotted key.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return from_object(kind, value, where, kinds)
    if origin is tuple and isinstance(value, list | tuple):
        types_of_items = [arguments[0]] * len(value) if arguments[1:] == (...,) else list(arguments)
        if len(types_of_items) == len(value):
            if item_of(kind) in kinds:
                return tuple(from_json(arguments[0], v, entry_key(where, v, i), kinds) for i, v in enumerate(value))
            if item_of(kind) and len(value) == 1:  # as in `check_bounds`: a single stage needs no number
                return (from_json(arguments[0], value[0], where.rpartition(".")[0], kinds),)
            pairs = enumerate(zip(types_of_items, value, strict=True))
            return tuple(from_json(k, v, f"{where}.{i}", kinds) for i, (k, v) in pairs)
    elif origin is Literal and value in arguments:
        return value
    elif origin is dict and isinstance(value, dict):
        return {k: from_json(arguments[1], v, f"{where}.{k}", kinds) for k, v in value.items()}
    elif kind is type(None) and value is None:
        return None
    elif kind is Any:
        return tuple(from_json(Any, v, where) for v in value) if isinstance(value, list | tuple) else value
    elif kind in (int, float, bool, str) and has_type(kind, value):
        return float(value) if kind is float else value
    elif origin in (types.UnionType, typing.Union):
        fitting = [k for k in arguments if can_hold(k, value)]
        if fitting:
            return from_json(fitting[0], value, where, kinds)
    raise UserError(f"{where or 'the value'} is {value!r}; it must be {type_description(kind)}")


def from_object(kind: type, value: Any, where: str, kinds: Kinds = NO_KINDS) -> Any:
    """Convert a JSON object to a frozen dataclass. Raise `UserError` for an unknown or missing field."""
    if not isinstance(value, Mapping):
        first = dataclasses.fields(kind)[0].name if dataclasses.fields(kind) else "kind"
        advice = f". You can also set a single field, such as {where}.{first}" if where else ""
        raise UserError(f"{where or kind.__name__} is {value!r}; it must be {type_description(kind)}{advice}")
    chosen = class_of(kind, value, where, kinds)
    hints = hints_of(chosen)
    value = {name: v for name, v in value.items() if name != "kind" or "kind" in hints}
    for name in value:
        if name not in hints:
            raise unknown_field_error(kind, chosen, f"{where}.{name}" if where else name, name, kinds)
    required = [
        f.name
        for f in dataclasses.fields(chosen)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in value
    ]
    if required:
        key = f"{where}.{required[0]}" if where else required[0]
        raise UserError(f"{where or chosen.__name__} lacks the field {required[0]!r}; set {key}")
    return chosen(**{k: from_json(hints[k], v, f"{where}.{k}" if where else k, kinds) for k, v in value.items()})


def class_of(kind: type, value: Mapping[str, Any], where: str, kinds: Kinds) -> type:
    """Return the class for a JSON object: `kind` itself or, for a tagged union, the class for the object's kind."""
    if kind in kinds:
        known = kinds[kind].entries
        if "kind" not in value:
            raise UserError(f"{where} lacks the field 'kind'; choose one of: {', '.join(sorted(known))}")
        found: type = kinds[kind][value["kind"]]
        return found
    tag = tag_of(kind)
    if tag and value.get("kind", tag) != tag:
        raise UserError(f"{where}.kind is {value['kind']!r}; it must be {tag!r}")
    return kind


def unknown_field_error(kind: type, chosen: type, key: str, name: str, kinds: Kinds) -> UserError:
    """Return the error for a field that `chosen` lacks. The message lists the kinds of the union that have it."""
    if kind in kinds:
        owners = [other for other, entry in kinds[kind].entries.items() if name in hints_of(entry)]
        if owners:
            union = kinds[kind].what
            owner = f"{union} {'kinds' if len(owners) > 1 else 'kind'} {', '.join(sorted(owners))}"
            option = key.replace("_", "-")
            return UserError(f"--{option} belongs to the {owner}, but the {union} of this run is {tag_of(chosen)}")
    message = f"{chosen.__name__} has no field {key!r}{suggestion(name, hints_of(chosen))}"
    return UnknownKey(message, key, [f"{key.removesuffix(name)}{other}" for other in hints_of(chosen)])


def can_hold(kind: Any, value: Any) -> bool:
    """Return whether a JSON value fits `kind`, one of the types in a union. Only the outermost type is checked."""
    if kind in (None, type(None)):
        return value is None
    if kind in (int, float, bool, str) or typing.get_origin(kind) is Literal:
        return has_type(kind, value)
    origin = typing.get_origin(kind)
    if origin is not None:
        return isinstance(value, list | tuple if origin is tuple else origin)
    return isinstance(value, dict if dataclasses.is_dataclass(kind) else kind)


def has_type(kind: Any, value: Any) -> bool:
    """Return whether a value has the plain type `kind`.

    Booleans do not count as numbers. Whole numbers are valid floats, but NaN and infinities are not.
    """
    if kind in (int, float, bool, str):
        if isinstance(value, bool) or kind is bool:
            return kind is bool and isinstance(value, bool)
        if kind is float:
            return isinstance(value, int | float) and abs(value) <= sys.float_info.max
        return isinstance(value, kind)
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if typing.get_origin(kind) is tuple and isinstance(value, tuple):
        kinds = typing.get_args(kind)
        kinds = (kinds[0],) * len(value) if kinds[-1] is ... else kinds
        return len(kinds) == len(value) and all(map(has_type, kinds, value))
    return typing.get_origin(kind) is not tuple and not dataclasses.is_dataclass(kind)


def type_description(kind: Any) -> str:
    """Describe a type in words, for messages."""
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(kind))
    if dataclasses.is_dataclass(kind):
        names = ", ".join(f.name for f in dataclasses.fields(kind))
        return f"an object with the fields of {getattr(kind, '__name__', kind)}: {names}"
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        return f"a mapping in which each value is {type_description(arguments[1])}"
    if typing.get_origin(kind) is tuple and arguments:
        many = "numbers" if arguments[0] in (int, float) else "values"
        return f"a list of {many}" if arguments[-1] is ... else f"{len(arguments)} {many}"
    return {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}.get(kind, str(kind))


def item_of(hint: Any) -> type | None:
    """Return the class of the items of a tuple type if that class is a dataclass, else None."""
    item = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None
    return item if isinstance(item, type) and dataclasses.is_dataclass(item) else None


def entry_key(where: str, value: Any, i: int) -> str:
    """Return the dotted key of an entry in a tuple. It ends with the entry's kind, or its number if it has no kind."""
    return f"{where}.{value.get('kind', i) if isinstance(value, Mapping) else i}"


def kind_names(value: Any) -> list[str] | None:
    """Return the kind of each entry in a JSON array. If the value is not an array of tagged entries, return None.

    The "kind" key is a tag only if it comes first in an entry. `to_json` writes a tag before all fields, whereas a
    field that happens to be called "kind" keeps its position among the fields.
    """
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(entry, Mapping) and next(iter(entry), "") == "kind" for entry in value):
        return None
    return [str(entry["kind"]) for entry in value]


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested JSON into a mapping from dotted keys to values. An array of plain values remains one value.

    An array of tagged entries becomes a list of their kinds, and the key of each field contains the entry's kind:
    {"augment": ["flip", "pad"], "augment.flip.probability": 0.5, "augment.pad.pixels": 4}. If a kind occurs more than
    once, the keys contain the entries' numbers instead.
    """
    kinds = kind_names(value)
    head: dict[str, Any] = {}
    if isinstance(value, Mapping):
        items = [(str(k), v) for k, v in value.items()]
    elif kinds is not None:
        head = {prefix: kinds}
        names = [kind if kinds.count(kind) == 1 else str(i) for i, kind in enumerate(kinds)]
        items = [(n, {k: v for k, v in e.items() if k != "kind"}) for n, e in zip(names, value, strict=True)]
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        return {prefix: value}
    inner = (flatten(v, f"{prefix}.{name}" if prefix else name) for name, v in items)
    return head | {k: v for flat in inner for k, v in flat.items()}


def difference(before: Any, after: Any) -> list[str]:
    """Return one line for each field in which two configs differ, such as "schedule.rate: 0.1 before, 0.2 now"."""
    old, new = flatten(to_json(before)), flatten(to_json(after))
    keys = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
    was, now = ({k: "empty" if v == "" else v for k, v in values.items()} for values in (old, new))
    return [f"{k}: {was.get(k, 'absent')} before, {now.get(k, 'absent')} now" for k in keys]
