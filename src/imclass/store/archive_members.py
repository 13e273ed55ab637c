"""What an archive holds, one member after the other: tar (plain, gzip, bzip2, xz) and zip, read without trust.

Tar is read here because the standard library's `tarfile` takes headers of any length into memory and knows many kinds
of member that have no place in a data set; of `zipfile` only the parsing is used. A header is never believed: what
counts is what has been read.
"""

import bz2
import gzip
import io
import lzma
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from imclass.core.errors import UserError
from imclass.core.text import printable_text
from imclass.store.untrusted import DAMAGE_ERRORS

T = TypeVar("T")

BLOCK = 1 << 16  # bytes read at once
RECORD_BYTES = 512  # bytes of a tar header, and what contents are padded to
MAX_EXTENSION_BYTES = 1 << 16  # bytes of a tar header's extension, which is read into memory
TAR_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}


@dataclass(frozen=True)
class ArchiveMember:
    """One entry: its name as the archive has it, whether it is a folder, its content (to be read before the next)."""

    name: str
    folder: bool
    blocks: Iterable[bytes] = ()


def read_members(archive: Path, most_read: int) -> Iterator[ArchiveMember]:
    """The entries of an archive, told by its first bytes; a tar stream of more than `most_read` bytes is refused."""
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from zip_members(archive, file)
            return
        with decompress(file, start) as stream:
            yield from tar_members(archive, Stream(archive, stream, most_read))


def decompress(file: io.BufferedReader, start: bytes) -> io.BufferedIOBase:
    """The decompressed content of a file that begins with `start`."""
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    if start.startswith(b"BZh"):
        return bz2.open(file)
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(file)
    return file


def zip_members(archive: Path, file: io.BufferedReader) -> Iterator[ArchiveMember]:
    """The entries of a zip archive, after a look at all of them; CRCs are checked as they are read."""
    with zipfile.ZipFile(file) as opened:
        entries = opened.infolist()
        end = 0
        for entry in sorted(entries, key=lambda e: e.header_offset):
            check_entry(archive, entry)
            if entry.header_offset < end:  # one run of bytes that unpacks many times over
                raise refusal(archive, entry.filename, "overlaps another member")
            end = entry.header_offset + 30 + len(entry.orig_filename.encode("ascii", "replace")) + entry.compress_size
        for entry in entries:
            with opened.open(entry) as content:
                yield ArchiveMember(entry.orig_filename, entry.is_dir(), iter(partial(content.read, BLOCK), b""))


def check_entry(archive: Path, entry: zipfile.ZipInfo) -> None:
    """A `UserError` for what a zip archive may hold beside plain files and folders."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else "no plain file"
        raise refusal(archive, entry.orig_filename, f"is {what}")
    if entry.flag_bits & 1:
        raise refusal(archive, entry.orig_filename, "is encrypted")
    # The others decompress without a bound on what comes out of one block.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refusal(archive, entry.orig_filename, "is compressed by another method than deflate")


@dataclass
class Stream:
    """A tar archive's bytes in order, counted as they come out of the decompressor."""

    archive: Path
    file: io.BufferedIOBase
    most: int
    count: int = 0

    def read(self, size: int) -> bytes:
        """The next bytes, `size` at most."""
        block = self.file.read(min(size, BLOCK))
        self.count += len(block)
        if self.count > self.most:
            raise too_large_error(self.archive, self.most)
        return block

    def blocks(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes and the padding after them, which is dropped; a stream that ends early is damaged."""
        for left, kept in ((size, True), (-size % RECORD_BYTES, False)):
            while left:
                block = self.read(left)
                if not block:
                    raise EOFError("it ends in the middle of a member")
                left -= len(block)
                if kept:
                    yield block

    def whole(self, size: int) -> bytes:
        """The same at once, for the short extensions of headers."""
        if size > MAX_EXTENSION_BYTES:
            raise ValueError(f"a header of {size:,} bytes")
        return b"".join(self.blocks(size))


def tar_members(archive: Path, stream: Stream) -> Iterator[ArchiveMember]:
    """The entries of a tar stream: POSIX ustar and pax, GNU's long names, and their common ancestor."""
    extra: dict[str, bytes] = {}
    while any(header := b"".join(stream.blocks(RECORD_BYTES))):
        kind, size = tar_header(header)
        if kind in b"xgLK":
            content = stream.whole(size)
            if kind in b"xL":
                extra |= pax_records(content) if kind == b"x" else {"path": content.rstrip(b"\0")}
            continue
        name = extra.get("path", tar_name(header)).decode("utf-8", "surrogateescape")
        kind = b"S" if "sparse" in extra else kind
        if kind not in b"05\0":
            raise refusal(archive, name, f"is {TAR_KINDS.get(kind, 'no plain file')}")
        folder = kind == b"5" or name.endswith("/")
        blocks = stream.blocks(0 if kind == b"5" else tar_number(extra["size"], 10) if "size" in extra else size)
        yield ArchiveMember(name, folder, blocks)
        for _ in blocks:  # what was not read
            pass
        extra = {}
    while stream.read(BLOCK):  # to the end, where the decompressors check their sums
        pass


def tar_header(header: bytes) -> tuple[bytes, int]:
    """Type and size of the record, whose checksum must be right."""
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != tar_number(header[148:156].strip(b" \0"), 8):
        raise ValueError("it is not a tar or zip archive, or a header is broken")
    size = header[124:136]
    # GNU writes sizes from 8 GiB on in base 256, with the highest bit set.
    return header[156:157], int.from_bytes(size[1:], "big") if size[0] == 0x80 else tar_number(size.strip(b" \0"), 8)


def tar_number(text: bytes, base: int) -> int:
    """A whole number of at most 20 plain digits; nothing at all is 0."""
    if not re.fullmatch(rb"[0-7]{0,20}" if base == 8 else rb"[0-9]{0,20}", text):
        raise ValueError("a header holds no number where one belongs")
    return int(text or b"0", base)


def tar_name(header: bytes) -> bytes:
    """The name in the record; ustar's has a prefix."""
    name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def pax_records(content: bytes) -> dict[str, bytes]:
    """Path, size and sparseness from the "LENGTH KEY=VALUE\\n" records of an extended header (POSIX.1-2001, pax)."""
    records: dict[str, bytes] = {}
    while content:
        length, space, _ = content.partition(b" ")
        size = tar_number(length, 10)
        key, equals, value = content[len(length) + 1 : size].partition(b"=")
        if not (space and equals and value.endswith(b"\n")) or size > len(content):
            raise ValueError("an extended header is broken")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse."):
            records["sparse" if key.startswith(b"GNU") else key.decode()] = value[:-1]
        content = content[size:]
    return records


def guard_reads(archive: Path, items: Iterable[T]) -> Iterator[T]:
    """The items, with whatever reading a damaged archive raises as a `UserError`; errors of the consumer pass by."""
    try:
        yield from items
    except DAMAGE_ERRORS as error:
        why = printable_text(str(error)) or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:  # the decompressors' own errors carry no number
            raise UserError(f"{archive} cannot be read ({why}); make it readable") from None
        raise UserError(f"{archive} is damaged ({why}); delete it and fetch it again") from None


def refusal(archive: Path, name: str, why: str) -> UserError:
    """The error for a member that is not taken."""
    shown = printable_text(name if len(name) <= 200 else f"{name[:200]}...")
    return UserError(f"{archive}: '{shown}' {why}; nothing was unpacked. Use an archive from a source you trust")


def too_large_error(archive: Path, limit: int) -> UserError:
    """The error for an archive that goes on and on."""
    return UserError(f"{archive} unpacks to more than the {limit:,} bytes allowed for its size; nothing was unpacked")
