"""Checks and conversions of the arguments of the public functions."""
# Tested in tests/test_public.py

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imclass.core.codec import from_json
from imclass.core.errors import UserError
from imclass.core.override import convert_value
from imclass.core.targets import Link
from imclass.training.events import Consumer


def paths_as_text(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices with paths converted to text, as configs store them."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in choices.items()}


def link_of(name: str) -> Link:
    """Return the link with this name. Raise `UserError` for an unknown name."""
    if name == "softmax":
        return "softmax"
    if name == "sigmoid":
        return "sigmoid"
    raise UserError(f"the link is {name!r}; it must be softmax, or sigmoid for several labels per image")


def whole_number(value: Any, name: str) -> int | None:
    """Return an optional argument. Raise `UserError` if it is not a whole number."""
    found: int | None = None if value is None else from_json(int, convert_value(int, value, name), f"--{name}")
    return found


def check_names(classes: Any) -> None:
    """Raise `UserError` unless the classes are a sequence of names. A single string is not accepted."""
    if not isinstance(classes, Sequence) or isinstance(classes, str):
        raise UserError(f"the classes are {classes!r}; pass their names as a list, such as ['cat', 'dog']")


def check_consumers(consumers: Sequence[Any]) -> None:
    """Raise `UserError` for a consumer that lacks one of its two methods, before training begins."""
    for consumer in consumers:
        if not isinstance(consumer, Consumer):
            raise UserError(f"{consumer!r} is not a consumer; it must have the methods see(event) and close()")
