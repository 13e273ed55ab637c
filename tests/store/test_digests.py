"""Digests of files are kept until a file changes; work goes on without an index that cannot be used."""

import os
import sqlite3
from pathlib import Path

import pytest

from imclass.store.digests import SETTLING_NS, Digests, Stamp, is_settled, open_digests, real_stamp, real_stamps
from imclass.store.store import Store

ONE, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture
def digests(tmp_path: Path) -> Digests:
    return open_digests(Store(tmp_path / "store"))


def test_a_digest_is_kept_for_its_stamp(digests: Digests) -> None:
    stamp = ("/a/x.png", 10, 5)
    assert digests.read([stamp]) == {} and not digests.path.parent.exists()
    digests.write({stamp: ONE, ("/a/y.png", 3, 5): OTHER})
    assert open_digests(Store(digests.path.parents[1])).read([stamp, ("/a/z.png", 10, 5)]) == {stamp: ONE}


@pytest.mark.parametrize("other", [("/a/x.png", 11, 5), ("/a/x.png", 10, 6), ("/b/x.png", 10, 5)])
def test_another_stamp_has_no_digest(digests: Digests, other: Stamp) -> None:
    digests.write({("/a/x.png", 10, 5): ONE})
    assert digests.read([other]) == {}


def test_a_path_has_one_digest(digests: Digests) -> None:
    digests.write({("/a/x.png", 10, 5): ONE})
    digests.write({("/a/x.png", 10, 6): OTHER})
    assert digests.read([("/a/x.png", 10, 5), ("/a/x.png", 10, 6)]) == {("/a/x.png", 10, 6): OTHER}


def test_paths_that_are_not_valid_unicode_are_kept(digests: Digests) -> None:
    one, other = ((os.fsdecode(b"/a/\xff%c.png" % byte), 10, 5) for byte in (0xFE, 0xFD))
    digests.write({one: ONE, other: OTHER})
    assert digests.read([one, other]) == {one: ONE, other: OTHER}


@pytest.mark.parametrize("damage", [b"", b"not a database" * 100, None])
def test_a_damaged_index_is_rebuilt(digests: Digests, damage: bytes | None) -> None:
    stamps = {(f"/a/{i}.png", 10, 5): ONE for i in range(2000)}
    digests.write(stamps)
    whole = digests.path.read_bytes()
    digests.path.write_bytes(whole[:5000] + b"\xff" * (len(whole) - 5000) if damage is None else damage)
    assert digests.read(stamps) == {}
    digests.write(stamps)
    digests.write(stamps)  # if the first write finds the damage, only the second one stores anything
    assert digests.read(stamps) == stamps


def test_a_value_that_is_not_a_digest_is_ignored(digests: Digests) -> None:
    digests.write({("/a/x.png", 10, 5): ONE})
    database = sqlite3.connect(digests.path)
    database.execute("UPDATE files SET sha256 = 'x'")
    database.commit()
    database.close()
    assert digests.read([("/a/x.png", 10, 5)]) == {}


def test_a_locked_index_is_ignored(digests: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = ("/a/x.png", 10, 5)
    digests.write({stamp: ONE})
    monkeypatch.setattr("imclass.store.database.LOCK_TIMEOUT", 0.01)
    database = sqlite3.connect(digests.path)
    database.execute("BEGIN EXCLUSIVE")
    assert digests.read([stamp]) == {}
    digests.write({stamp: OTHER})
    database.close()
    assert digests.read([stamp]) == {stamp: ONE}


def test_a_store_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    digests = open_digests(Store(tmp_path / "store"))
    digests.write({("/a/x.png", 10, 5): ONE})
    assert digests.read([("/a/x.png", 10, 5)]) == {}


def test_an_index_with_other_columns_is_ignored(digests: Digests) -> None:
    digests.path.parent.mkdir(parents=True)
    database = sqlite3.connect(digests.path)
    database.execute("CREATE TABLE files (name TEXT)")
    database.commit()
    database.close()
    digests.write({("/a/x.png", 10, 5): ONE})
    assert digests.read([("/a/x.png", 10, 5)]) == {}


def test_only_a_file_that_has_not_changed_for_two_seconds_is_settled(tmp_path: Path) -> None:
    file, link = tmp_path / "x", tmp_path / "link"
    file.write_bytes(b"1")
    link.symlink_to(file)
    assert not is_settled(real_stamp(file), file)
    before = file.stat().st_mtime_ns
    os.utime(file, ns=(before, before - SETTLING_NS))
    stamp = real_stamp(file)
    assert is_settled(stamp, file) and is_settled(stamp, link) and stamp[0] == os.path.realpath(file)
    os.utime(file, ns=(before, before - SETTLING_NS - 1))
    assert not is_settled(stamp, file)
    os.utime(file, ns=(before, before + 10**12))  # written by a clock that is ahead
    assert not is_settled(real_stamp(file), file)


def test_stamps_of_many_files_are_those_of_each(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "b" / "1").write_bytes(b"1")
    (tmp_path / "a" / "2").symlink_to("b/1")
    (tmp_path / "a" / "lost").symlink_to("gone")
    names = ("a/b/1", "linked/b/1", "linked/2", "linked/lost", "a/none", "no/none", "linked/b/../2")
    files = [tmp_path / name for name in names]
    assert real_stamps(files) == [real_stamp(file) for file in files]
    assert {path for path, _, _ in real_stamps(files[:3])} == {str(tmp_path / "a" / "b" / "1")}
