"""Rows are stored by content, and work continues without a file that cannot be used."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from imclass.store.rows import Rows, open_rows
from imclass.store.store import Store

CONTENTS = (0, 1, 2**63 - 1, 2**63, 2**64 - 1)
ROWS = {content: np.arange(4, dtype=np.float32) + i for i, content in enumerate(CONTENTS)}


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return open_rows(Store(tmp_path / "store"), {"weights": "a"})


def test_rows_are_read_by_content(rows: Rows) -> None:
    assert rows.read(CONTENTS) == {} and not rows.path.parent.exists()
    rows.write({})
    assert not rows.path.parent.exists()
    rows.write(ROWS)
    found = rows.read([*CONTENTS, 5])
    assert set(found) == set(CONTENTS)
    assert all(np.array_equal(found[content], row) and row.dtype == np.float32 for content, row in ROWS.items())


def test_rows_are_counted_by_content(rows: Rows) -> None:
    assert rows.count(CONTENTS) == 0
    rows.write(ROWS)
    assert rows.count([*CONTENTS, 5]) == len(CONTENTS) and rows.count(CONTENTS[:2]) == 2


def test_keys_have_separate_rows(rows: Rows) -> None:
    rows.write(ROWS)
    store = Store(rows.path.parents[1])
    assert open_rows(store, {"weights": "a"}).path == rows.path
    assert open_rows(store, {"weights": "b"}).read(CONTENTS) == {}


def test_a_row_that_has_changed_on_the_disk_is_not_used(rows: Rows) -> None:
    rows.write(ROWS)
    with sqlite3.connect(rows.path) as database:
        database.execute("UPDATE rows SET numbers = ? WHERE content = 1", (np.zeros(4, "<f4").tobytes(),))
    assert set(rows.read(CONTENTS)) == set(CONTENTS) - {1}


def test_a_damaged_file_is_rebuilt(rows: Rows) -> None:
    rows.path.parent.mkdir(parents=True)
    rows.path.write_bytes(b"no database" * 100)
    assert rows.read(CONTENTS) == {}
    rows.write(ROWS)
    assert set(rows.read(CONTENTS)) == set(CONTENTS)


def test_nothing_is_stored_if_the_store_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    rows = open_rows(Store(tmp_path / "store"), {})
    rows.write(ROWS)
    assert rows.read(CONTENTS) == {}
