"""Records as text: in aligned columns, or with one value per line."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from imclass.core.codec import flatten
from imclass.core.text import printable_text

MIN_TEXT_COLUMNS = 24  # minimum width of readable text


def text_table(rows: Sequence[Mapping[str, Any]], width: int | None = None) -> str:
    """Return rows as aligned columns. If a line is longer than `width`, its last cell is wrapped.

    If there is too little room next to the other cells, the last cell begins on the next line, indented.
    """
    if not rows:
        return "none"
    cells = [[key for key in rows[0]], *[[cell_text(row[key]) for key in row] for row in rows]]
    wide = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    begin = sum(wide) - wide[-1] + 2 * len(wide[:-1])
    if width is None or begin + wide[-1] <= width:
        width = begin + wide[-1]
    return "\n".join(align_line(line, wide, width) for line in cells)


def align_line(line: Sequence[str], wide: Sequence[int], width: int) -> str:
    """Return the cells of a line side by side. All but the last are padded to their column's width."""
    before = "".join(text.ljust(w) + "  " for text, w in zip(line[:-1], wide[:-1], strict=True))
    if len(before) + wide[-1] <= width:
        return (before + line[-1]).rstrip()
    indent = len(before) if width - len(before) >= MIN_TEXT_COLUMNS else 4
    last = textwrap.wrap(line[-1], max(width - indent, 1), break_long_words=False, break_on_hyphens=False)
    start = [before.rstrip()] if indent < len(before) or not last else [before + last.pop(0)]
    return "\n".join([*start, *(" " * indent + part for part in last)]).rstrip()


def cell_text(value: Any) -> str:
    """Return a value as the text of a table cell. Integers from 1900 to 2099 are treated as years and get no comma."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 1900 <= value < 2100 else f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(name_and_value(key, v) for key, v in value.items()) or "-"
    if isinstance(value, list) and any(isinstance(v, float) for v in value):
        return " / ".join("-" if v is None else str(v) for v in value)
    if isinstance(value, list):
        return " x ".join(map(str, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(str, value))
    return "-" if value is None else printable_text(str(value))


def name_and_value(name: str, value: Any) -> str:
    """Return "name=value", or only the name if the value is empty."""
    return name if value is None or value is False or value == [] else f"{name}={cell_text(value)}"


def record_text(record: Mapping[str, Any]) -> str:
    """Return a record as "key: value" lines, followed by a line for each refused file."""
    refused = record.get("refused")
    named = refused if isinstance(refused, list) else []
    lines = []
    for key, value in flatten({k: v for k, v in record.items() if v is not named}).items():
        is_list = isinstance(value, list | tuple)
        text = ", ".join("-" if v is None else str(v) for v in value) if is_list else str(value)
        lines.append(f"{key}: " + "\n".join(printable_text(line) for line in text.split("\n")))
    lines += [printable_text(f"refused: {one['path']}: {one['detail']} ({one['code']})") for one in named]
    return "\n".join(lines)
