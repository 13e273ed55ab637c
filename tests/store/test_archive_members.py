"""Members are read from headers of every spelling; special files and damage are refused."""

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.archives import (
    contents,
    encrypted_zip,
    entry,
    overlapping_zip,
    patch_bytes,
    record,
    refusal_of,
    tar,
    unpack,
    with_mode,
    zip_archive,
)


def test_a_trailing_slash_makes_a_folder_in_the_oldest_tar(base: Path) -> None:
    content = b"abc".ljust(512, b"\0")  # the content of a folder is ignored
    old = record(b"a/", b"00000000003", b"\0") + content + record(b"a/b", b"00000000003", b"\0") + content
    assert unpack(old + bytes(1024), base) == {"a": None, "a/b": b"abc"}


@pytest.mark.parametrize("size", [b"\x80" + bytes(10) + b"\x03", b"     3 \0", b"00000000003"])
def test_sizes_are_read_in_every_spelling(base: Path, size: bytes) -> None:
    assert unpack(record(b"a", size) + b"abc".ljust(512, b"\0") + bytes(1024), base) == {"a": b"abc"}


def test_a_long_name_and_size_come_from_the_extended_header(base: Path) -> None:
    name = "d" * 200 + "/" + "f" * 200
    info = entry(name, pax={"size": "5"})
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "global"}) as archive:
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    assert contents(unpack(out.getvalue(), base)) == {name: b"hello"}


def test_a_name_from_an_extended_header_is_checked_as_well(base: Path) -> None:
    long = "../" + "n" * 150
    assert long in refusal_of(tar((long, b"evil"), format=tarfile.GNU_FORMAT), base)
    assert "../evil" in refusal_of(tar(entry("good", pax={"path": "../evil"})), base)


@pytest.mark.parametrize(
    ("kind", "description"),
    [(tarfile.SYMTYPE, "symbolic link"), (tarfile.LNKTYPE, "hard link"), (tarfile.CHRTYPE, "character device"),
     (tarfile.BLKTYPE, "block device"), (tarfile.FIFOTYPE, "FIFO"), (tarfile.GNUTYPE_SPARSE, "sparse"),
     (tarfile.CONTTYPE, "not a plain file"), (b"V", "not a plain file"), (b"D", "not a plain file")],
)  # fmt: skip
@pytest.mark.parametrize("aim", ["../../victim", "good", "/etc/passwd"])
def test_special_files_are_refused(base: Path, kind: bytes, description: str, aim: str) -> None:
    message = refusal_of(tar(("good", b"good"), entry("odd", kind, aim)), base)
    assert "'odd'" in message and description in message


def test_sparse_files_with_a_pax_header_are_refused(base: Path) -> None:
    sparse = entry("huge", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 11})
    assert "is a sparse file" in refusal_of(tar(sparse), base)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_special_files_in_a_zip_are_refused(base: Path, kind: int) -> None:
    description = "a symbolic link" if kind == stat.S_IFLNK else "not a plain file"
    assert f"'odd' is {description}" in refusal_of(zip_archive((with_mode("odd", kind | 0o777), b"../../victim")), base)


def test_a_stream_that_never_ends_is_cut_off(base: Path) -> None:
    padding = gzip.compress(tar(("a", b"a")) + bytes(8 << 20))
    assert "unpacks to more than" in refusal_of(padding, base, max_bytes=1 << 20)
    headers = gzip.compress((record(b"x", b"00000000000", b"g")) * 20_000 + tar(("a", b"a")))
    assert "unpacks to more than" in refusal_of(headers, base, max_bytes=1 << 20)
    assert unpack(headers, base, max_bytes=20 << 20) == {"a": b"a"}


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_gigabytes_is_not_read(base: Path, kind: bytes) -> None:
    assert "a header of" in refusal_of(record(b"h", b"77777777777", kind) + bytes(4096), base)


@pytest.mark.parametrize(
    "extension",
    [b"0 path=x\n", b"99 path=x\n", b"-9 path=x\n", b"9path=abc\n", b"12 path=abc ", b"99999999999999999999999 a=\n"],
)
def test_a_broken_extension_is_reported_as_damage(base: Path, extension: bytes) -> None:
    head = record(b"h", b"%011o" % len(extension), b"x")
    broken = head + extension.ljust(512, b"\0") + tar(("a", b"a"))
    assert "is damaged" in refusal_of(broken, base)


@pytest.mark.parametrize("size", ["-5", "1e3", "0x10", " 5", "9" * 30])
def test_an_extended_size_that_is_not_a_number_is_reported_as_damage(base: Path, size: str) -> None:
    assert "not a number" in refusal_of(tar(entry("a", pax={"size": size})), base)


@pytest.mark.parametrize("size", [b"\xff" * 12, b"99999999999", b"-0000000005"])
def test_a_size_that_is_not_a_number_is_reported_as_damage(base: Path, size: bytes) -> None:
    assert "not a number" in refusal_of(record(b"a", size) + bytes(1024), base)


def test_a_wrong_size_is_reported_as_damage(base: Path) -> None:
    assert "in the middle" in refusal_of(record(b"a", b"77777777777") + bytes(2048), base)
    assert "in the middle" in refusal_of(record(b"a", b"\x80" + b"\xff" * 11) + bytes(2048), base)
    honest = zip_archive(("a", b"x" * 1000))
    assert "is damaged" in refusal_of(patch_bytes(honest, struct.pack("<L", 1000), struct.pack("<L", 10)), base)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_truncated_archive_is_reported_as_damage(base: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(tar(("a", os.urandom(30_000)), ("b", b"b")))
    for length in (1, 100, 511, 513, len(whole) // 2, len(whole) - (10_000 if compress is bytes else 5)):
        assert "is damaged" in refusal_of(whole[:length], base)


def test_a_truncated_zip_is_reported_as_damage(base: Path) -> None:
    whole = zip_archive(("a", os.urandom(30_000)), ("b", b"b"))
    for length in (4, 100, len(whole) // 2, len(whole) - 5):
        assert "is damaged" in refusal_of(whole[:length], base)


def test_a_wrong_checksum_is_reported_as_damage(base: Path) -> None:
    content = os.urandom(1000)
    assert "is damaged" in refusal_of(patch_bytes(tar(("name", content)), b"name", b"nape"), base)
    squeezed = gzip.compress(tar(("a", content)))
    assert "CRC" in refusal_of(squeezed[:-8] + bytes(4) + squeezed[-4:], base)
    stored = zip_archive(("a", content), method=zipfile.ZIP_STORED)
    assert "CRC" in refusal_of(patch_bytes(stored, content, content[::-1]), base)
    crc = struct.pack("<L", zlib.crc32(content))
    assert "is damaged" in refusal_of(patch_bytes(stored, crc, bytes(4)), base)


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>not found</html>" * 100, b"PK\x03\x04", b"\x1f\x8b" * 999])
def test_a_file_that_is_not_an_archive_is_reported_as_damage(base: Path, content: bytes) -> None:
    assert "is damaged" in refusal_of(content, base)


def test_overlapping_members_are_refused(base: Path) -> None:
    assert "overlaps" in refusal_of(overlapping_zip(50), base)
    assert contents(unpack(overlapping_zip(1), base)) == {"a": bytes(100_000)}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_methods_without_bounds_are_refused(base: Path, method: int) -> None:
    assert "a method other than deflate" in refusal_of(zip_archive(("a", bytes(1000)), method=method), base)


def test_an_encrypted_member_is_refused(base: Path) -> None:
    assert "'a' is encrypted" in refusal_of(encrypted_zip(), base)


def test_a_nul_in_a_zip_name_is_refused(base: Path) -> None:
    assert "control characters" in refusal_of(patch_bytes(zip_archive(("good.png_evil", b"")), b"png_", b"png\0"), base)


def test_invalid_utf_8_in_a_name_is_refused(base: Path) -> None:
    assert "invalid UTF-8" in refusal_of(record(b"\xff\xfe", b"00000000000") + bytes(1024), base)


def test_a_file_without_a_name_is_refused(base: Path) -> None:
    assert "without a name" in refusal_of(record(b"", b"00000000000") + bytes(1024), base)
