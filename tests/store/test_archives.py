"""Malicious archives write nothing outside their folder and leave nothing behind; their harmless twins are unpacked."""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest

from imclass.core.errors import UserError
from imclass.store import archives
from imclass.store.archives import extract
from tests.support.archives import (
    Plain,
    contents,
    entry,
    refusal_of,
    state,
    tar,
    unpack,
    with_mode,
    zip_archive,
)

PLENTY = {"max_bytes": 1 << 30, "max_files": 100}
BOTH = [pytest.param(tar, id="tar"), pytest.param(zip_archive, id="zip")]
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
GOOD: list[Plain] = [
    ("cifar/batch.bin", bytes(range(256)) * 1000),
    ("cifar/empty", b""),
    ("./readme.txt", b"x" * 512),
    ("cifar/deep/er/\u00e9t\u00e9.txt", b"summer"),
    ("long/" + "n" * 90 + "/" + "m" * 99, b"a name in two parts"),
]
EXPECTED = {name.removeprefix("./"): content for name, content in GOOD}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_an_honest_tar_is_unpacked(base: Path, format: str, compress: Callable[[bytes], bytes]) -> None:
    folders = [entry(name, tarfile.DIRTYPE) for name in ("cifar", "empty/", "./")]
    found = unpack(compress(tar(*folders, *GOOD, format=FORMATS[format])), base)
    assert contents(found) == EXPECTED
    assert found["empty"] is None
    assert stat.S_IMODE(base.stat().st_mode) == 0o755


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_honest_zip_is_unpacked(base: Path, method: int) -> None:
    found = unpack(zip_archive(("cifar/", b""), *GOOD, ("empty/", b""), method=method), base)
    assert contents(found) == EXPECTED
    assert found["empty"] is None


def test_an_existing_folder_takes_new_entries_only(base: Path) -> None:
    archive = tar(("batches/a", b"a"), ("readme", b"r"))
    base.mkdir()
    (base / "official.tar").write_bytes(b"mine")
    path = base.parent.parent / "archive"
    path.write_bytes(archive)
    assert extract(path, base, **PLENTY) == [base / "batches" / "a", base / "readme"]
    assert state(base) == {"batches": None, "batches/a": b"a", "official.tar": b"mine", "readme": b"r"}
    (base / "readme").write_bytes(b"changed")
    assert "'batches'" in refusal_of(archive, base)  # nothing is replaced
    assert "'readme'" in refusal_of(tar(("other", b""), ("readme", b"r")), base)  # nor is the rest unpacked


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(
    "name",
    ["../evil", "../base_evil/evil", "a/../../evil", "a/..", "..", "/evil", "//evil", "\\evil", "..\\evil", "a\\..\\b",
     "C:evil", "c:/evil", "a\nb", "a\x1b[2Jb", "d/" * 33 + "f", "n" * 256],
)  # fmt: skip
def test_a_bad_name_is_refused(base: Path, make: Callable[..., bytes], name: str) -> None:
    assert "nothing was unpacked" in refusal_of(make(("good", b"good"), (name, b"evil")), base)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(
    "name",
    ["..evil", "a/...", "base_evil/evil", "ab:c", "a b\u202f\u200dc", "d/" * 31 + "f", "n" * 255, "a/./b", "a//b"],
)
def test_an_odd_but_safe_name_is_accepted(base: Path, make: Callable[..., bytes], name: str) -> None:
    found = unpack(make(("good", b"good"), (name, b"fine")), base)
    assert contents(found) == {"good": b"good", name.replace("/./", "/").replace("//", "/"): b"fine"}


def test_without_the_check_it_would_have_left_the_folder(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.MemberWriter, "safe_parts", lambda self, member: tuple(member.name.split("/")))
    archive = base.parent.parent / "archive"
    archive.write_bytes(tar(("../base_evil/evil", b"evil")))
    with pytest.raises(UserError, match="File exists"):  # the second guard: each folder must be a new one
        extract(archive, base, **PLENTY)
    monkeypatch.setattr(archives.MemberWriter, "enter", lambda self, parts, name: None)
    extract(archive, base, **PLENTY)
    assert (base.parent / "base_evil" / "evil").read_bytes() == b"evil"


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"),
        ("a", "A"),
        ("d/a", "D/b"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("\u00e9", "e\u0301"),
        ("a", "./a"),
        ("a/", "a"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide_are_refused(base: Path, make: Callable[..., bytes], names: Sequence[str]) -> None:
    assert "would overwrite" in refusal_of(make(*((name, b"") for name in names)), base)


def test_a_chain_of_links_is_cut_at_the_first(base: Path) -> None:
    links = [entry("a", tarfile.SYMTYPE, "."), entry("a/b", tarfile.SYMTYPE, "..")]
    assert "'a' is a symbolic link" in refusal_of(tar(*links, ("a/b/base_evil/kept", b"evil")), base)


def test_mode_bits_are_ignored(base: Path) -> None:
    odd = entry("tar")
    odd.mode = 0o6777
    unpack(tar(odd), base)
    assert stat.S_IMODE((base / "tar").stat().st_mode) & ~0o644 == 0


def test_mode_bits_of_a_zip_are_ignored(base: Path) -> None:
    unpack(zip_archive((with_mode("zip", stat.S_IFREG | 0o6777), b"")), base)
    assert stat.S_IMODE((base / "zip").stat().st_mode) & ~0o644 == 0


@pytest.mark.parametrize("make", BOTH)
def test_bytes_and_files_are_limited(base: Path, make: Callable[..., bytes]) -> None:
    archive = make(("d/a", b"x" * 70_000), ("d/b", b"x" * 30_000))
    assert "99,999 bytes" in refusal_of(archive, base, max_bytes=99_999)
    assert "1 files" in refusal_of(archive, base, max_files=1)
    assert len(contents(unpack(archive, base, max_bytes=100_000, max_files=2))) == 2


def test_folders_are_limited(base: Path) -> None:
    many = [entry(f"{i}", tarfile.DIRTYPE) for i in range(11)]
    assert "more than 10 folders" in refusal_of(tar(*many, ("a", b"")), base, max_files=10)
    assert len(unpack(tar(*many, ("a", b"")), base, max_files=11)) == 12


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_refused_under_any_limit(
    base: Path, compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "GRACE_BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MAX_RATIO", 20)
    bomb = compress(tar(("zeros", bytes(4 << 20))))
    assert "unpacks to more than" in refusal_of(bomb, base)
    monkeypatch.setattr(archives, "GRACE_BYTES", 4 << 20)
    assert len(unpack(bomb, base)["zeros"] or b"") == 4 << 20


def test_a_zip_bomb_is_refused_under_any_limit(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "GRACE_BYTES", 1 << 20)
    bomb = zip_archive(*((f"{i}", bytes(1 << 20)) for i in range(6)))
    assert "unpacks to more than" in refusal_of(bomb, base)
    monkeypatch.setattr(archives, "GRACE_BYTES", 6 << 20)
    assert len(unpack(bomb, base)) == 6


@pytest.mark.parametrize("empty", [tar(), zip_archive(), tar(entry("d", tarfile.DIRTYPE)), bytes(10_240)])
def test_an_archive_without_files_is_refused(base: Path, empty: bytes) -> None:
    assert "no files" in refusal_of(empty, base)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_target_that_is_not_a_folder_is_refused(base: Path, kind: Literal["file", "link"]) -> None:
    base.write_bytes(b"mine") if kind == "file" else base.symlink_to(base.parent / "nowhere")
    assert "is not a folder" in refusal_of(tar(("a", b"a")), base)


def test_a_missing_archive_is_named(base: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.tar does not exist"):
        extract(base.parent / "nothing.tar", base, **PLENTY)


def test_an_unreadable_archive_is_not_called_damaged(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    archive = base.parent.parent / "archive"
    archive.write_bytes(tar(("a", b"a")))
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(UserError, match="cannot be read"):
        extract(archive, base, **PLENTY)


def test_a_full_disk_leaves_nothing_behind(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(os, "fsync", full)
        assert "No space left" in refusal_of(tar(("a", b"a"), ("b", b"b")), base)
    assert len(unpack(tar(("a", b"a"), ("b", b"b")), base)) == 2


def test_an_interrupt_leaves_nothing_behind(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    archive = base.parent.parent / "archive"
    archive.write_bytes(tar(("a", b"a")))
    before = state(base.parent.parent)
    with pytest.raises(KeyboardInterrupt):
        extract(archive, base, **PLENTY)
    assert state(base.parent.parent) == before
