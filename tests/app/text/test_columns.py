"""Records as aligned columns, and as lines."""

from typing import Any

import pytest

from imclass.app.text.columns import cell_text, record_text, text_table


def test_a_table_is_aligned() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "n": 12345, "size": [1, 28, 28]},
        {"name": "long\nname", "n": None, "size": ["x", "y"]},
    ]
    assert text_table(rows).splitlines() == [
        "name        n       size",
        "a           12,345  1 x 28 x 28",
        "long\\nname  -       x, y",
    ]
    assert text_table([]) == "none"


def test_a_long_last_column_is_wrapped_in_a_terminal() -> None:
    rows = [{"name": "a", "about": "one two three four five six seven eight nine"}, {"name": "b", "about": ""}]
    assert text_table(rows, 100) == text_table(rows) and len(text_table(rows).splitlines()) == 3
    assert text_table(rows, 32).splitlines() == [
        "name  about", "a     one two three four five", "      six seven eight nine", "b",
    ]  # fmt: skip
    assert text_table(rows, 20).splitlines() == [
        "name", "    about", "a", "    one two three", "    four five six", "    seven eight nine", "b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1998, "1998"),
        (2100, "2,100"),
        (True, "True"),
        (None, "-"),
        (0.5, "0.5"),
        ([], ""),
        ([8.54, None], "8.54 / -"),
    ],
)
def test_cells(value: object, expected: str) -> None:
    assert cell_text(value) == expected


def test_a_record_is_lines_of_keys_and_values() -> None:
    record = {"a": {"b": 1, "c": [1, 2]}, "d": "two\nlines \x1b", "e": [{"f": None}]}
    assert record_text(record) == "a.b: 1\na.c: 1, 2\nd: two\nlines \\x1b\ne.0.f: None"


def test_refused_files_are_named_in_a_line_each() -> None:
    refused = [{"path": "a\n.png", "code": "empty", "detail": "the file has 0 bytes"}]
    assert (
        record_text({"images": 3, "refused": refused}) == "images: 3\nrefused: a\\n.png: the file has 0 bytes (empty)"
    )
    assert record_text({"images": 3, "refused": []}) == "images: 3"
    assert record_text({"refused": 2}) == "refused: 2"
