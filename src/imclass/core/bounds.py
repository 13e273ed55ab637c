"""Bounds that stand beside a field's type, and the one walk that checks them.

rate: Annotated[float, Above(0), AtMost(1e6)] = 0.1
"""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from imclass.core.codec import has_type, item_of, tag_of, type_description
from imclass.core.errors import require


def number_text(number: int | float) -> str:
    """Return a number as text without an exponent."""
    return f"{int(number):,}" if number == int(number) else f"{number:g}"


@dataclass(frozen=True)
class Above:
    """Greater than a number."""

    low: int | float

    def allows(self, value: int | float) -> bool:
        return value > self.low

    def __str__(self) -> str:
        return f"above {number_text(self.low)}"


@dataclass(frozen=True)
class AtLeast:
    """A number or greater."""

    low: int | float
    why: str = ""

    def allows(self, value: int | float) -> bool:
        return value >= self.low

    def __str__(self) -> str:
        return f"at least {number_text(self.low)}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Below:
    """Less than a number."""

    high: int | float

    def allows(self, value: int | float) -> bool:
        return value < self.high

    def __str__(self) -> str:
        return f"below {number_text(self.high)}"


@dataclass(frozen=True)
class AtMost:
    """A number or less."""

    high: int | float

    def allows(self, value: int | float) -> bool:
        return value <= self.high

    def __str__(self) -> str:
        return f"at most {number_text(self.high)}"


def check_bounds(value: Any, at: str = "") -> None:
    """Raise `UserError` for a field, at any depth, of the wrong type or out of bounds; `at` begins the fields' names.

    The only item of a tuple of dataclasses needs no number: its fields are named as if they were the tuple's owner's.
    An item that is one kind of several is named by its kind.
    A dataclass's own method `check_together(at)` checks what depends on several fields.
    """
    hints = typing.get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner) and item_of(hints[field.name]) is None:
            check_bounds(inner, f"{at}{field.name}.")
        elif isinstance(inner, tuple) and any(dataclasses.is_dataclass(item) for item in inner):
            wanted = item_of(hints[field.name]) or object
            for i, item in enumerate(inner):
                require(isinstance(item, wanted), f"{at}{field.name}", item, type_description(hints[field.name]))
                name = tag_of(type(item)) or (str(i) if len(inner) > 1 else "")
                check_bounds(item, f"{at}{field.name}.{name}." if name else at)
        else:
            check_value(hints[field.name], inner, f"{at}{field.name}")
    if hasattr(value, "check_together"):
        value.check_together(at)


def check_value(hint: Any, value: Any, key: str) -> None:
    """Raise `UserError` for a value that has not the type or is not within the bounds of `hint`."""
    kind, *bounds = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    require(has_type(kind, value), key, value_text(value), type_description(kind))
    values = value if isinstance(value, tuple) else (value,)
    within = all(bound.allows(v) for bound in bounds for v in values)
    require(
        within, key, value_text(value), " and ".join(map(str, bounds)) + (", each" if isinstance(value, tuple) else "")
    )


def value_text(value: Any) -> str:
    """Return a value as it is typed; a text in quotes."""
    return repr(value) if isinstance(value, str) else str(value)
