"""Records as aligned columns, or as lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from imclass.core.codec import flatten
from imclass.core.text import printable


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned columns."""
    if not rows:
        return "none"
    cells = [[key for key in rows[0]], *[[cell(row[key]) for key in row] for row in rows]]
    wide = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, wide, strict=True)).rstrip() for line in cells)


def cell(value: Any) -> str:
    """A value as the text of a table's cell."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 1900 <= value < 2100 else f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(named(key, v) for key, v in value.items()) or "-"
    if isinstance(value, list) and any(isinstance(v, float) for v in value):
        return " / ".join("-" if v is None else str(v) for v in value)
    if isinstance(value, list):
        return " x ".join(map(str, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(str, value))
    return "-" if value is None else printable(str(value))


def named(name: str, value: Any) -> str:
    """Return "name=value", or the name alone where the value is empty."""
    return name if value is None or value is False or value == [] else f"{name}={cell(value)}"


def plain(record: Mapping[str, Any]) -> str:
    """A record as lines "key: value"."""
    lines = []
    for key, value in flatten(record).items():
        several = isinstance(value, list | tuple)
        text = ", ".join("-" if v is None else str(v) for v in value) if several else str(value)
        lines.append(f"{key}: " + "\n".join(printable(line) for line in text.split("\n")))
    return "\n".join(lines)
