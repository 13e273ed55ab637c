"""Archives that attack, each beside a harmless twin: nothing is written outside, nothing is left of what is refused."""

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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

from imclass.core.errors import UserError
from imclass.store import archives
from imclass.store.archives import extract

PLENTY = {"most_bytes": 1 << 30, "most_files": 100}
State: TypeAlias = dict[str, bytes | None]
Plain: TypeAlias = tuple[str, bytes]


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", pax: Mapping[str, str] | None = None
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, link, dict(pax or {})
    return info


def tar(*members: Plain | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive; a tuple is a plain file and its content, else the header counts."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for member in members:
            info, content = (member, b"") if isinstance(member, tarfile.TarInfo) else (entry(member[0]), member[1])
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(*members: Plain | tuple[zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def record(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """One tar header with the checksum that belongs to it, whatever else it says."""
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size.ljust(12, b"\0") + b"0" * 11 + b"\0"
    tail = kind + bytes(100) + b"ustar\x0000" + bytes(247)
    return head + b"%06o\0 " % (sum(head) + 8 * 32 + sum(tail)) + tail


def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def overlapped(copies: int) -> bytes:
    """A zip whose directory names the same compressed bytes many times over."""
    single = zipped(("a", bytes(100_000)))
    start = single.index(b"PK\x01\x02")
    end = single.index(b"PK\x05\x06")
    central = single[start:end]
    names = [central.replace(b"a", bytes([98 + i])) if i else central for i in range(copies)]
    directory = b"".join(names)
    return (
        single[:start]
        + directory
        + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, copies, copies, len(directory), start, 0)
    )


def patched(archive: bytes, old: bytes, new: bytes, everywhere: bool = True) -> bytes:
    assert len(old) == len(new) and old in archive
    return archive.replace(old, new, -1 if everywhere else 1)


def encrypted() -> bytes:
    archive = bytearray(zipped(("a", b"secret")))
    archive[6] |= 1
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    return bytes(archive)


def state(folder: Path) -> State:
    """Everything below a folder: files with their content, and None for the rest."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() and not p.is_symlink() else None
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder to unpack into, with neighbours that an attack may aim at."""
    base = tmp_path / "place" / "base"
    (base.parent / "base_evil").mkdir(parents=True)
    (base.parent / "base_evil" / "kept").write_bytes(b"kept")
    (tmp_path / "victim").write_bytes(b"precious")
    return base


def unpack(content: bytes, base: Path, most_bytes: int = 1 << 30, most_files: int = 100) -> State:
    """What the archive unpacks to in `base`."""
    archive = base.parent.parent / "archive"
    archive.write_bytes(content)
    before = state(base.parent.parent)
    found = extract(archive, base, most_bytes, most_files)
    after = state(base)
    assert sorted(found) == sorted(base / name for name, file in after.items() if file is not None)
    inside = {f"place/base/{name}": file for name, file in after.items()}
    assert state(base.parent.parent) == before | {"place/base": None} | inside
    return after


def refused(content: bytes, base: Path, most_bytes: int = 1 << 30, most_files: int = 100) -> str:
    """The message with which the archive is refused; everything is as it was before."""
    archive = base.parent.parent / "archive"
    archive.write_bytes(content)
    before = state(base.parent.parent)
    with pytest.raises(UserError) as caught:
        extract(archive, base, most_bytes, most_files)
    assert state(base.parent.parent) == before
    assert str(archive) in str(caught.value)
    return str(caught.value)


BOTH = [pytest.param(tar, id="tar"), pytest.param(zipped, id="zip")]
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
GOOD: list[Plain] = [
    ("cifar/batch.bin", bytes(range(256)) * 1000),
    ("cifar/empty", b""),
    ("./readme.txt", b"x" * 512),
    ("cifar/deep/er/\u00e9t\u00e9.txt", b"summer"),
    ("long/" + "n" * 90 + "/" + "m" * 99, b"a name in two parts"),
]
EXPECTED = {name.removeprefix("./"): content for name, content in GOOD}


def contents(found: State) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if content is not None}


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
    found = unpack(zipped(("cifar/", b""), *GOOD, ("empty/", b""), method=method), base)
    assert contents(found) == EXPECTED
    assert found["empty"] is None


def test_the_oldest_tar_names_folders_by_a_slash(base: Path) -> None:
    content = b"abc".ljust(512, b"\0")  # a folder's is dropped
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


def test_an_existing_folder_takes_what_is_not_there_yet(base: Path) -> None:
    archive = tar(("batches/a", b"a"), ("readme", b"r"))
    base.mkdir()
    (base / "official.tar").write_bytes(b"mine")
    path = base.parent.parent / "archive"
    path.write_bytes(archive)
    assert extract(path, base, **PLENTY) == [base / "batches" / "a", base / "readme"]
    assert state(base) == {"batches": None, "batches/a": b"a", "official.tar": b"mine", "readme": b"r"}
    (base / "readme").write_bytes(b"changed")
    assert "'batches'" in refused(archive, base)  # nothing is replaced
    assert "'readme'" in refused(tar(("other", b""), ("readme", b"r")), base)  # nor is the rest put there


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(
    "name",
    ["../evil", "../base_evil/evil", "a/../../evil", "a/..", "..", "/evil", "//evil", "\\evil", "..\\evil", "a\\..\\b",
     "C:evil", "c:/evil", "a\nb", "a\x1b[2Jb", "d/" * 33 + "f", "n" * 256],
)  # fmt: skip
def test_a_bad_name_is_refused(base: Path, make: Callable[..., bytes], name: str) -> None:
    assert "nothing was unpacked" in refused(make(("good", b"good"), (name, b"evil")), base)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(
    "name",
    ["..evil", "a/...", "base_evil/evil", "ab:c", "a b\u202f\u200dc", "d/" * 31 + "f", "n" * 255, "a/./b", "a//b"],
)
def test_its_twin_is_taken(base: Path, make: Callable[..., bytes], name: str) -> None:
    found = unpack(make(("good", b"good"), (name, b"fine")), base)
    assert contents(found) == {"good": b"good", name.replace("/./", "/").replace("//", "/"): b"fine"}


def test_a_name_from_an_extended_header_is_checked_as_well(base: Path) -> None:
    long = "../" + "n" * 150
    assert long in refused(tar((long, b"evil"), format=tarfile.GNU_FORMAT), base)
    assert "../evil" in refused(tar(entry("good", pax={"path": "../evil"})), base)


def test_without_the_check_it_would_have_left_the_folder(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.Writer, "checked", lambda self, member: tuple(member.name.split("/")))
    archive = base.parent.parent / "archive"
    archive.write_bytes(tar(("../base_evil/evil", b"evil")))
    with pytest.raises(UserError, match="File exists"):  # the second guard: each folder must be a new one
        extract(archive, base, **PLENTY)
    monkeypatch.setattr(archives.Writer, "enter", lambda self, parts, name: None)
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
def test_twins_are_refused(base: Path, make: Callable[..., bytes], names: Sequence[str]) -> None:
    assert "would take the place of" in refused(make(*((name, b"") for name in names)), base)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(tarfile.SYMTYPE, "symbolic link"), (tarfile.LNKTYPE, "hard link"), (tarfile.CHRTYPE, "character device"),
     (tarfile.BLKTYPE, "block device"), (tarfile.FIFOTYPE, "FIFO"), (tarfile.GNUTYPE_SPARSE, "sparse"),
     (tarfile.CONTTYPE, "no plain file"), (b"V", "no plain file"), (b"D", "no plain file")],
)  # fmt: skip
@pytest.mark.parametrize("aim", ["../../victim", "good", "/etc/passwd"])
def test_what_is_no_plain_file_is_refused(base: Path, kind: bytes, said: str, aim: str) -> None:
    message = refused(tar(("good", b"good"), entry("odd", kind, aim)), base)
    assert "'odd'" in message and said in message


def test_a_chain_of_links_is_cut_at_the_first(base: Path) -> None:
    links = [entry("a", tarfile.SYMTYPE, "."), entry("a/b", tarfile.SYMTYPE, "..")]
    assert "'a' is a symbolic link" in refused(tar(*links, ("a/b/base_evil/kept", b"evil")), base)


def test_sparse_files_of_the_extended_kind_are_refused(base: Path) -> None:
    sparse = entry("huge", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 11})
    assert "is a sparse file" in refused(tar(sparse), base)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_what_is_no_plain_file_in_a_zip_is_refused(base: Path, kind: int) -> None:
    said = "a symbolic link" if kind == stat.S_IFLNK else "no plain file"
    assert f"'odd' is {said}" in refused(zipped((with_mode("odd", kind | 0o777), b"../../victim")), base)


def test_mode_bits_are_ignored(base: Path) -> None:
    odd = entry("tar")
    odd.mode = 0o6777
    unpack(tar(odd), base)
    assert stat.S_IMODE((base / "tar").stat().st_mode) & ~0o644 == 0


def test_mode_bits_of_a_zip_are_ignored(base: Path) -> None:
    unpack(zipped((with_mode("zip", stat.S_IFREG | 0o6777), b"")), base)
    assert stat.S_IMODE((base / "zip").stat().st_mode) & ~0o644 == 0


@pytest.mark.parametrize("make", BOTH)
def test_bytes_and_files_and_folders_are_counted(base: Path, make: Callable[..., bytes]) -> None:
    archive = make(("d/a", b"x" * 70_000), ("d/b", b"x" * 30_000))
    assert "99,999 bytes" in refused(archive, base, most_bytes=99_999)
    assert "1 files" in refused(archive, base, most_files=1)
    assert len(contents(unpack(archive, base, most_bytes=100_000, most_files=2))) == 2


def test_a_million_folders_are_not_made(base: Path) -> None:
    many = [entry(f"{i}", tarfile.DIRTYPE) for i in range(11)]
    assert "more than 10 folders" in refused(tar(*many, ("a", b"")), base, most_files=10)
    assert len(unpack(tar(*many, ("a", b"")), base, most_files=11)) == 12


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_refused_whatever_the_cap(
    base: Path, compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "GRACE", 1 << 20)
    monkeypatch.setattr(archives, "RATIO", 20)
    bomb = compress(tar(("zeros", bytes(4 << 20))))
    assert "unpacks to more than" in refused(bomb, base)
    monkeypatch.setattr(archives, "GRACE", 4 << 20)
    assert len(unpack(bomb, base)["zeros"] or b"") == 4 << 20


def test_a_zip_bomb_is_refused_whatever_the_cap(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "GRACE", 1 << 20)
    bomb = zipped(*((f"{i}", bytes(1 << 20)) for i in range(6)))
    assert "unpacks to more than" in refused(bomb, base)
    monkeypatch.setattr(archives, "GRACE", 6 << 20)
    assert len(unpack(bomb, base)) == 6


def test_a_stream_that_never_ends_is_cut_off(base: Path) -> None:
    padding = gzip.compress(tar(("a", b"a")) + bytes(8 << 20))
    assert "unpacks to more than" in refused(padding, base, most_bytes=1 << 20)
    headers = gzip.compress((record(b"x", b"00000000000", b"g")) * 20_000 + tar(("a", b"a")))
    assert "unpacks to more than" in refused(headers, base, most_bytes=1 << 20)
    assert unpack(headers, base, most_bytes=20 << 20) == {"a": b"a"}


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_gigabytes_is_not_read(base: Path, kind: bytes) -> None:
    assert "a header of" in refused(record(b"h", b"77777777777", kind) + bytes(4096), base)


@pytest.mark.parametrize(
    "extension",
    [b"0 path=x\n", b"99 path=x\n", b"-9 path=x\n", b"9path=abc\n", b"12 path=abc ", b"99999999999999999999999 a=\n"],
)
def test_a_broken_extension_is_damage(base: Path, extension: bytes) -> None:
    head = record(b"h", b"%011o" % len(extension), b"x")
    broken = head + extension.ljust(512, b"\0") + tar(("a", b"a"))
    assert "is damaged" in refused(broken, base)


@pytest.mark.parametrize("size", ["-5", "1e3", "0x10", " 5", "9" * 30])
def test_a_size_that_is_no_number_is_damage(base: Path, size: str) -> None:
    assert "no number" in refused(tar(entry("a", pax={"size": size})), base)


@pytest.mark.parametrize("size", [b"\xff" * 12, b"99999999999", b"-0000000005"])
def test_a_size_in_the_record_that_is_no_number_is_damage(base: Path, size: bytes) -> None:
    assert "no number" in refused(record(b"a", size) + bytes(1024), base)


def test_a_lying_size_is_damage(base: Path) -> None:
    assert "in the middle" in refused(record(b"a", b"77777777777") + bytes(2048), base)
    assert "in the middle" in refused(record(b"a", b"\x80" + b"\xff" * 11) + bytes(2048), base)
    honest = zipped(("a", b"x" * 1000))
    assert "is damaged" in refused(patched(honest, struct.pack("<L", 1000), struct.pack("<L", 10)), base)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_cut_archive_is_damage(base: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(tar(("a", os.urandom(30_000)), ("b", b"b")))
    for length in (1, 100, 511, 513, len(whole) // 2, len(whole) - (10_000 if compress is bytes else 5)):
        assert "is damaged" in refused(whole[:length], base)


def test_a_cut_zip_is_damage(base: Path) -> None:
    whole = zipped(("a", os.urandom(30_000)), ("b", b"b"))
    for length in (4, 100, len(whole) // 2, len(whole) - 5):
        assert "is damaged" in refused(whole[:length], base)


def test_a_wrong_sum_is_damage(base: Path) -> None:
    content = os.urandom(1000)
    assert "is damaged" in refused(patched(tar(("name", content)), b"name", b"nape"), base)
    squeezed = gzip.compress(tar(("a", content)))
    assert "CRC" in refused(squeezed[:-8] + bytes(4) + squeezed[-4:], base)
    stored = zipped(("a", content), method=zipfile.ZIP_STORED)
    assert "CRC" in refused(patched(stored, content, content[::-1]), base)
    crc = struct.pack("<L", zlib.crc32(content))
    assert "is damaged" in refused(patched(stored, crc, bytes(4)), base)


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>not found</html>" * 100, b"PK\x03\x04", b"\x1f\x8b" * 999])
def test_what_is_no_archive_is_damage(base: Path, content: bytes) -> None:
    assert "is damaged" in refused(content, base)


@pytest.mark.parametrize("empty", [tar(), zipped(), tar(entry("d", tarfile.DIRTYPE)), bytes(10_240)])
def test_an_archive_without_files_is_refused(base: Path, empty: bytes) -> None:
    assert "no files" in refused(empty, base)


def test_overlapping_members_are_refused(base: Path) -> None:
    assert "overlaps" in refused(overlapped(50), base)
    assert contents(unpack(overlapped(1), base)) == {"a": bytes(100_000)}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_bounds_are_refused(base: Path, method: int) -> None:
    assert "another method" in refused(zipped(("a", bytes(1000)), method=method), base)


def test_an_encrypted_member_is_refused(base: Path) -> None:
    assert "'a' is encrypted" in refused(encrypted(), base)


def test_a_nul_in_a_zip_name_is_refused(base: Path) -> None:
    assert "control characters" in refused(patched(zipped(("good.png_evil", b"")), b"png_", b"png\0"), base)


def test_broken_text_in_a_name_is_refused(base: Path) -> None:
    assert "broken text" in refused(record(b"\xff\xfe", b"00000000000") + bytes(1024), base)


def test_a_file_without_a_name_is_refused(base: Path) -> None:
    assert "without a name" in refused(record(b"", b"00000000000") + bytes(1024), base)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_target_that_is_no_folder_is_refused(base: Path, kind: Literal["file", "link"]) -> None:
    base.write_bytes(b"mine") if kind == "file" else base.symlink_to(base.parent / "nowhere")
    assert "is not a folder" in refused(tar(("a", b"a")), base)


def test_a_missing_archive_is_named(base: Path) -> None:
    with pytest.raises(UserError, match="there is no archive"):
        extract(base.parent / "nothing.tar", base, **PLENTY)


def test_an_unreadable_archive_is_not_called_damaged(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    archive = base.parent.parent / "archive"
    archive.write_bytes(tar(("a", b"a")))
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(UserError, match="cannot be read"):
        extract(archive, base, **PLENTY)


def test_a_full_disk_leaves_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(os, "fsync", full)
        assert "No space left" in refused(tar(("a", b"a"), ("b", b"b")), base)
    assert len(unpack(tar(("a", b"a"), ("b", b"b")), base)) == 2


def test_an_interrupt_leaves_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    archive = base.parent.parent / "archive"
    archive.write_bytes(tar(("a", b"a")))
    before = state(base.parent.parent)
    with pytest.raises(KeyboardInterrupt):
        extract(archive, base, **PLENTY)
    assert state(base.parent.parent) == before
