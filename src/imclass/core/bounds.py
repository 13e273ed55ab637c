"""Bounds on the fields of a dataclass, declared in their annotations, and the functions that check them.

An example is `rate: Annotated[float, Above(0), AtMost(1e6)] = 0.1`.
"""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from imclass.core.codec import has_type, item_of, tag_of, type_description
from imclass.core.errors import require


def number_text(number: int | float) -> str:
    """Return a number as text. Whole numbers are written with thousands separators and without an exponent."""
    return f"{int(number):,}" if number == int(number) else f"{number:g}"


@dataclass(frozen=True)
class Above:
    """A lower bound; values must be greater than `low`."""

    low: int | float

    def allows(self, value: int | float) -> bool:
        return value > self.low

    def __str__(self) -> str:
        return f"above {number_text(self.low)}"


@dataclass(frozen=True)
class AtLeast:
    """A lower bound; values must be at least `low`. `why` gives the reason in the error message."""

    low: int | float
    why: str = ""

    def allows(self, value: int | float) -> bool:
        return value >= self.low

    def __str__(self) -> str:
        return f"at least {number_text(self.low)}" + (f", because {self.why}" if self.why else "")


@dataclass(frozen=True)
class Below:
    """An upper bound; values must be less than `high`."""

    high: int | float

    def allows(self, value: int | float) -> bool:
        return value < self.high

    def __str__(self) -> str:
        return f"below {number_text(self.high)}"


@dataclass(frozen=True)
class AtMost:
    """An upper bound; values must be at most `high`."""

    high: int | float

    def allows(self, value: int | float) -> bool:
        return value <= self.high

    def __str__(self) -> str:
        return f"at most {number_text(self.high)}"


def check_bounds(value: Any, at: str = "") -> None:
    """Raise `UserError` if a field of a dataclass has the wrong type or is out of bounds.

    Nested dataclasses are checked as well. Messages identify a field by its dotted key, which begins with `at`. In a
    tuple of dataclasses, the key of an item is its kind, or its number if it has no kind. The number is omitted
    if the tuple has one item. A dataclass may define `check_together(at)` for rules that involve several fields.
    """
    hints = typing.get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner) and item_of(hints[field.name]) is None:
            check_bounds(inner, f"{at}{field.name}.")
        elif isinstance(inner, tuple) and any(dataclasses.is_dataclass(item) for item in inner):
            item_class = item_of(hints[field.name]) or object
            for i, item in enumerate(inner):
                require(isinstance(item, item_class), f"{at}{field.name}", item, type_description(hints[field.name]))
                name = tag_of(type(item)) or (str(i) if len(inner) > 1 else "")
                check_bounds(item, f"{at}{field.name}.{name}." if name else at)
        else:
            check_value(hints[field.name], inner, f"{at}{field.name}")
    if hasattr(value, "check_together"):
        value.check_together(at)


def check_value(hint: Any, value: Any, key: str) -> None:
    """Raise `UserError` if a value has the wrong type or is out of bounds. `hint` declares the type and the bounds."""
    kind, *bounds = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    require(has_type(kind, value), key, value_text(value), type_description(kind))
    values = value if isinstance(value, tuple) else (value,)
    wanted = " and ".join(map(str, bounds))
    if isinstance(value, tuple):
        wanted = f"a list of numbers, each {wanted}"
    require(all(bound.allows(v) for bound in bounds for v in values), key, value_text(value), wanted)


def value_text(value: Any) -> str:
    """Return a value as text. Strings are quoted."""
    return repr(value) if isinstance(value, str) else str(value)
