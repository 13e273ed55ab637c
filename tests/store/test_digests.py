"""Digests of files are kept until a file changes; an index that cannot be used is done without."""

import os
import sqlite3
from pathlib import Path

import pytest

from imclass.store.digests import SETTLING_NS, Digests, Stamp, is_settled, open_digests, real_stamp
from imclass.store.store import Store

ONE, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture
def kept(tmp_path: Path) -> Digests:
    return open_digests(Store(tmp_path / "store"))


def test_a_digest_is_kept_for_its_stamp(kept: Digests) -> None:
    stamp = ("/a/x.png", 10, 5)
    assert kept.read([stamp]) == {} and not kept.path.parent.exists()
    kept.write({stamp: ONE, ("/a/y.png", 3, 5): OTHER})
    assert open_digests(Store(kept.path.parents[1])).read([stamp, ("/a/z.png", 10, 5)]) == {stamp: ONE}


@pytest.mark.parametrize("other", [("/a/x.png", 11, 5), ("/a/x.png", 10, 6), ("/b/x.png", 10, 5)])
def test_another_stamp_has_no_digest(kept: Digests, other: Stamp) -> None:
    kept.write({("/a/x.png", 10, 5): ONE})
    assert kept.read([other]) == {}


def test_a_path_has_one_digest(kept: Digests) -> None:
    kept.write({("/a/x.png", 10, 5): ONE})
    kept.write({("/a/x.png", 10, 6): OTHER})
    assert kept.read([("/a/x.png", 10, 5), ("/a/x.png", 10, 6)]) == {("/a/x.png", 10, 6): OTHER}


def test_paths_that_are_not_valid_unicode_are_kept(kept: Digests) -> None:
    one, other = ((os.fsdecode(b"/a/\xff%c.png" % byte), 10, 5) for byte in (0xFE, 0xFD))
    kept.write({one: ONE, other: OTHER})
    assert kept.read([one, other]) == {one: ONE, other: OTHER}


@pytest.mark.parametrize("damage", [b"", b"not a database" * 100, None])
def test_a_damaged_index_is_made_anew(kept: Digests, damage: bytes | None) -> None:
    stamps = {(f"/a/{i}.png", 10, 5): ONE for i in range(2000)}
    kept.write(stamps)
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[:5000] + b"\xff" * (len(whole) - 5000) if damage is None else damage)
    assert kept.read(stamps) == {}
    kept.write(stamps)
    kept.write(stamps)  # where writing finds the damage, it is the second time that writes
    assert kept.read(stamps) == stamps


def test_a_value_that_is_no_digest_is_not_believed(kept: Digests) -> None:
    kept.write({("/a/x.png", 10, 5): ONE})
    database = sqlite3.connect(kept.path)
    database.execute("UPDATE files SET sha256 = 'x'")
    database.commit()
    database.close()
    assert kept.read([("/a/x.png", 10, 5)]) == {}


def test_a_locked_index_is_done_without(kept: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = ("/a/x.png", 10, 5)
    kept.write({stamp: ONE})
    monkeypatch.setattr("imclass.store.digests.LOCK_TIMEOUT", 0.01)
    database = sqlite3.connect(kept.path)
    database.execute("BEGIN EXCLUSIVE")
    assert kept.read([stamp]) == {}
    kept.write({stamp: OTHER})
    database.close()
    assert kept.read([stamp]) == {stamp: ONE}


def test_a_store_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    kept = open_digests(Store(tmp_path / "store"))
    kept.write({("/a/x.png", 10, 5): ONE})
    assert kept.read([("/a/x.png", 10, 5)]) == {}


def test_an_index_of_another_form_is_done_without(kept: Digests) -> None:
    kept.path.parent.mkdir(parents=True)
    database = sqlite3.connect(kept.path)
    database.execute("CREATE TABLE files (name TEXT)")
    database.commit()
    database.close()
    kept.write({("/a/x.png", 10, 5): ONE})
    assert kept.read([("/a/x.png", 10, 5)]) == {}


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
    os.utime(file, ns=(before, before + 10**12))  # by a clock that is ahead
    assert not is_settled(real_stamp(file), file)
