"""Rows in a file are read back bit for bit, and damaged, partial and missing ones are left out."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.store.context import open_context
from imclass.store.row_file import RECORD, RowFile, open_row_file

ROWS = np.random.default_rng(0).random((5, 7), np.float32)
CONTENTS = [2**63 + 3, 2, 9, 1, 0]


def make_file(path: Path) -> RowFile:
    file = RowFile(path / "features" / "a.rows")
    for content, row in zip(CONTENTS, ROWS, strict=True):
        file.append(content, row)
    return file


def read(file: RowFile, contents: list[int]) -> np.ndarray:
    return file.rows(contents, file.find(contents))[0 : len(contents)]


def test_rows_are_read_in_any_order(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    assert np.array_equal(read(file, CONTENTS), ROWS)
    assert np.array_equal(read(file, [9, 9, CONTENTS[0]]), ROWS[[2, 2, 0]])
    rows = file.rows(CONTENTS, file.find(CONTENTS))
    assert rows.shape == (5, 7) and len(rows) == 5
    assert np.array_equal(rows.columns(2, 6), ROWS[:, 2:6]) and np.array_equal(rows[1:3], ROWS[1:3])
    assert file.find([77]) == {} and RowFile(tmp_path / "none.rows").find([2]) == {}
    assert RowFile(tmp_path / "none.rows").rows([], {}).shape == (0, 0)


def test_the_newest_row_of_an_image_counts(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    file.append(2, ROWS[0] + 1)
    assert np.array_equal(read(file, [2]), ROWS[:1] + 1)


def test_a_damaged_row_is_left_out(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    data = bytearray(file.path.read_bytes())
    data[7 * 4 + 1] ^= 1
    file.path.write_bytes(data)
    assert file.find(CONTENTS).keys() == {*CONTENTS} - {2}


@pytest.mark.parametrize("killed_in", ["row", "record"])
def test_a_row_that_was_being_written_is_left_out_and_replaced(tmp_path: Path, killed_in: str) -> None:
    file = make_file(tmp_path)
    if killed_in == "row":  # the row is longer than the index says
        file.path.write_bytes(file.path.read_bytes() + b"half a row")
    else:
        file.index.write_bytes(file.index.read_bytes() + b"half")
    file.append(50, ROWS[3])
    assert np.array_equal(read(file, [*CONTENTS, 50]), [*ROWS, ROWS[3]])


def test_a_file_that_lost_its_end_keeps_the_other_rows(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    file.path.write_bytes(file.path.read_bytes()[: 3 * 28 + 5])
    assert file.find(CONTENTS).keys() == {*CONTENTS[:3]}
    file.index.write_bytes(b"")
    assert file.find(CONTENTS) == {}


def append_all(path: Path, start: int) -> None:
    for number in range(start, start + 40):
        RowFile(path).append(number, np.full(3, number, np.float32))


def test_processes_may_append_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.rows"
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=append_all, args=(path, start)) for start in (0, 40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert np.array_equal(read(RowFile(path), [*range(80)])[:, 0], np.arange(80))
    assert path.with_suffix(".index").stat().st_size == 80 * RECORD.itemsize


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("")
    with pytest.raises(UserError, match=r"a.rows cannot be written to: .*; free some space, or choose .* --store"):
        make_file(tmp_path)


def test_each_key_has_a_file_and_it_can_be_removed(tmp_path: Path) -> None:
    store = open_context(tmp_path).store
    one, two = open_row_file(store, {"a": 1}), open_row_file(store, {"a": 2})
    assert one.path != two.path and one.path.parent == store.folder / "features"
    one.append(1, ROWS[0])
    one.remove()
    two.remove()
    assert one.find([1]) == {} and not one.path.exists()


@pytest.mark.parametrize("damage", ["zeros", "width", "rows"])
def test_an_index_that_makes_no_sense_is_removed_with_its_rows(tmp_path: Path, damage: str) -> None:
    file = make_file(tmp_path)
    records = np.frombuffer(file.index.read_bytes(), RECORD).copy()
    if damage == "rows":
        file.path.unlink()
    else:
        records["width"][0 if damage == "zeros" else 2] = 0 if damage == "zeros" else 8
        file.index.write_bytes(records.tobytes())
    assert file.find(CONTENTS) == {} and not file.index.exists()
    assert file.append(5, ROWS[1]) == 0 and np.array_equal(read(file, [5]), ROWS[1:2])


def test_rows_that_are_lost_while_they_are_read_are_an_error(tmp_path: Path) -> None:
    file = make_file(tmp_path)
    rows = file.rows(CONTENTS, file.find(CONTENTS))
    file.path.write_bytes(file.path.read_bytes()[:70])
    assert np.array_equal(rows[0:2], ROWS[:2])
    with pytest.raises(UserError, match=r"a.rows became shorter while it was read; run the same command again"):
        rows.columns(0, 3)
