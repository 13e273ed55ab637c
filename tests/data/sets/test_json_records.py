"""Records are read from JSON in chunks of any size, and damaged files are refused."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from imclass.core.errors import UserError
from imclass.data.sets import json_records
from imclass.data.sets.json_records import JsonText, read_records, records_in

CONTENT: dict[str, Any] = {
    "info": {"text": 'a "quoted" ] } , text', "list": [1, 2]},
    "number": 12345,
    "images": [{"id": 1, "name": "ünï\n"}, {"id": 2, "inner": {"a": [1.5, -2e3, None, True]}}],
    "empty": [],
    "last": [{"x": 1}],
    "end": 1.25,
}
RECORDS = [(key, record) for key in ("images", "empty", "last") for record in CONTENT[key]]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50, 4096])
@pytest.mark.parametrize("indent", [None, 2])
def test_records_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None) -> None:
    monkeypatch.setattr(json_records, "CHUNK", chunk)
    for ascii_only in (True, False):
        text = json.dumps(CONTENT, indent=indent, ensure_ascii=ascii_only)
        assert list(records_in(JsonText(Path("x.json"), io.StringIO(text)))) == RECORDS


def test_only_a_small_part_of_the_text_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "CHUNK", 1000)
    text = JsonText(Path("x.json"), io.StringIO(json.dumps({"a": [{"n": n} for n in range(10_000)]})))
    longest = max(len(text.text) for _ in records_in(text))
    assert longest < 1100  # of 130,000 characters


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", r"it ends where '\{' should be"),
        (b"[1]", r"it has '\[' where '\{' should be"),
        (b'{"a": [{}', r"it ends where ',' or '\]' should be"),
        (b'{"a": [{"b": 1', r"Expecting ',' delimiter|Unterminated"),
        (b'{"a": [1]}', r"'a' contains '1', which is not a record"),
        (b'{"a" [{}]}', r"it has '\[' where ':' should be"),
        (b'{"a": [{}] "b": 1}', "where ',' should be"),
        (b'{"a": [{}],}', "a comma is not followed by a key"),
        (b'{"a": [{} {}]}', r"it has '\{' where ',' or '\]' should be"),
        (b'{"a": ' + b"[{}, " + b'{"b": ' + b"[" * 100_000, "recursion"),
        (b'{"a": [{"b": ' + b"9" * 10_000 + b"}]}", "4300"),
        (b'{"a": "\xff"}', "it is not UTF-8 text"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.json is not the expected JSON file \(.*({why}).*; replace it"):
        list(read_records(path))


def test_a_record_of_unusual_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "CHUNK", 100)
    monkeypatch.setattr(json_records, "MAX_VALUE", 1000)
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": [{"b": "x" * 900}]}))
    assert len(list(read_records(path))) == 1
    path.write_text(json.dumps({"a": [{"b": "x" * 1200}]}))
    with pytest.raises(UserError, match="a value has more than 1,000 characters"):
        list(read_records(path))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        list(read_records(tmp_path))


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(CONTENT), "utf-8-sig")
    assert list(read_records(path)) == RECORDS
