"""Frozen dataclasses to and from JSON, and what differs between two of them."""

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from imclass.core.errors import UserError
from imclass.core.text import nearest


def to_json(value: Any) -> Any:
    """Plain JSON of nested frozen dataclasses: objects, arrays, numbers, strings."""
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
    """Return the tag of a dataclass that is one kind of several, its class variable `kind`; "" for any other."""
    own = {f.name for f in dataclasses.fields(kind)}
    return "" if "kind" in own else str(getattr(kind, "kind", ""))


def from_json(kind: Any, value: Any, where: str = "") -> Any:
    """The inverse of `to_json` for the type `kind`; a wrong name or type is a `UserError` with its dotted key."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_object(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is ... else list(arguments)
        if len(kinds) == len(value):
            return tuple(from_json(k, v, f"{where}.{i}") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    elif origin is Literal and value in arguments:
        return value
    elif origin in (types.UnionType, typing.Union):
        fitting = [k for k in arguments if fits(k, value)]
        if fitting:
            return from_json(fitting[0], value, where)
    elif origin is dict and isinstance(value, dict):
        return {k: from_json(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    elif kind is Any:
        return tuple(from_json(Any, v, where) for v in value) if isinstance(value, list | tuple) else value
    elif fits(kind, value):
        return float(value) if kind is float else value
    raise UserError(f"{where or 'the value'} is {value!r}; it must be {described(kind)}")


def from_object(kind: type, value: Any, where: str) -> Any:
    """A frozen dataclass from a JSON object."""
    if not isinstance(value, Mapping):
        wanted = f"an object with the fields of {kind.__name__}"
        raise UserError(f"{where or kind.__name__} is {value!r}; it must be {wanted}")
    every, tag = typing.get_type_hints(kind), tag_of(kind)
    hints = {f.name: every[f.name] for f in dataclasses.fields(kind)}
    if tag:
        value = {"kind": tag, **value}
        if value.pop("kind") != tag:
            raise UserError(f"{where}.kind must be {tag!r}")
    for name in value:
        if name not in hints:
            key = f"{where}.{name}" if where else name
            raise UserError(f"{kind.__name__} has no field {key!r}{nearest(name, hints)}")
    required = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in value
    ]
    if required:
        raise UserError(f"{where or kind.__name__} lacks the field {required[0]!r}")
    return kind(**{k: from_json(hints[k], v, f"{where}.{k}" if where else k) for k, v in value.items()})


def fits(kind: Any, value: Any) -> bool:
    """Whether a JSON value can be of this plain type; true is no number, a whole number is a float, NaN is neither."""
    if kind in (None, type(None)):
        return value is None
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    origin = typing.get_origin(kind)
    if origin is Literal:
        return value in typing.get_args(kind)
    if origin is not None:
        return isinstance(value, list | tuple if origin is tuple else origin)
    return isinstance(value, dict if dataclasses.is_dataclass(kind) else kind)


def described(kind: Any) -> str:
    """A type in words for a message."""
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(kind))
    return {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}.get(kind, str(kind))


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key to leaf value of nested JSON; arrays of plain values are leaves."""
    if isinstance(value, Mapping):
        items = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        return {prefix: value}
    return {k: v for name, inner in items for k, v in flatten(inner, f"{prefix}.{name}" if prefix else name).items()}


def difference(before: Any, after: Any) -> list[str]:
    """Return a line for each field in which two configs differ: "schedule.rate: 0.1 before, 0.2 now"."""
    old, new = flatten(to_json(before)), flatten(to_json(after))
    keys = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
    return [f"{k}: {old.get(k, 'absent')} before, {new.get(k, 'absent')} now" for k in keys]
