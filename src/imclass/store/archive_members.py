"""The members of an untrusted archive, read in order. Archives are tar (plain, gzip, bzip2 or xz) or zip files.

Tar archives are parsed here because the standard library's `tarfile` reads headers of any length into memory and
accepts many kinds of members that do not belong in a data set. The entries of a zip archive are read with `zipfile`
and checked here. Sizes in headers are never trusted: limits apply to the number of bytes that were actually read.
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
RECORD_BYTES = 512  # bytes in a tar header; contents are padded to a multiple of this
MAX_EXTENSION_BYTES = 1 << 16  # bytes in an extension of a tar header; an extension is read into memory
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
    """One entry of an archive. Its content can be read only until the next member is requested."""

    name: str  # as spelled in the archive
    folder: bool
    blocks: Iterable[bytes] = ()


def read_members(archive: Path, max_read: int) -> Iterator[ArchiveMember]:
    """Yield the members of an archive. The first bytes of the archive determine its format.

    Raise `UserError` if a tar archive decompresses to more than `max_read` bytes.
    """
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from zip_members(archive, file)
            return
        with decompress(file, start) as stream:
            yield from tar_members(archive, Stream(archive, stream, max_read))


def decompress(file: io.BufferedReader, start: bytes) -> io.BufferedIOBase:
    """Return a stream of a file's decompressed content. The first bytes, `start`, show how it is compressed."""
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    if start.startswith(b"BZh"):
        return bz2.open(file)
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(file)
    return file


def zip_members(archive: Path, file: io.BufferedReader) -> Iterator[ArchiveMember]:
    """Yield the members of a zip archive after checking all entries. Reading a member verifies its CRC."""
    with zipfile.ZipFile(file) as zip_file:
        entries = zip_file.infolist()
        end = 0
        for entry in sorted(entries, key=lambda e: e.header_offset):
            check_entry(archive, entry)
            # Members that share compressed bytes let a small archive unpack to a huge size.
            if entry.header_offset < end:
                raise refusal(archive, entry.filename, "overlaps another member")
            end = entry.header_offset + 30 + len(entry.orig_filename.encode("ascii", "replace")) + entry.compress_size
        for entry in entries:
            with zip_file.open(entry) as content:
                yield ArchiveMember(entry.orig_filename, entry.is_dir(), iter(partial(content.read, BLOCK), b""))


def check_entry(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Raise `UserError` unless a zip entry is a plain file or folder that can be unpacked safely."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a symbolic link" if kind == stat.S_IFLNK else "is not a plain file"
        raise refusal(archive, entry.orig_filename, problem)
    if entry.flag_bits & 1:
        raise refusal(archive, entry.orig_filename, "is encrypted")
    # For other methods, `zipfile` sets no bound on the output of one compressed block.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refusal(archive, entry.orig_filename, "is compressed by a method other than deflate")


@dataclass
class Stream:
    """A reader of the decompressed bytes of a tar archive. It counts the bytes and enforces a limit."""

    archive: Path
    file: io.BufferedIOBase
    limit: int  # bytes
    count: int = 0  # bytes read so far

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes. Raise `UserError` if the limit is exceeded."""
        block = self.file.read(min(size, BLOCK))
        self.count += len(block)
        if self.count > self.limit:
            raise too_large_error(self.archive, self.limit)
        return block

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes in blocks, then skip their padding. Raise `EOFError` if the stream ends early."""
        for remaining, is_content in ((size, True), (-size % RECORD_BYTES, False)):
            while remaining:
                block = self.read(remaining)
                if not block:
                    raise EOFError("it ends in the middle of a member")
                remaining -= len(block)
                if is_content:
                    yield block

    def read_extension(self, size: int) -> bytes:
        """Return the content of a header extension of `size` bytes. Raise `ValueError` if it is too large."""
        if size > MAX_EXTENSION_BYTES:
            raise ValueError(f"a header of {size:,} bytes")
        return b"".join(self.blocks(size))


def tar_members(archive: Path, stream: Stream) -> Iterator[ArchiveMember]:
    """Yield the members of a tar stream. The original, ustar and pax formats and GNU's long names are supported."""
    extra: dict[str, bytes] = {}
    while any(header := b"".join(stream.blocks(RECORD_BYTES))):
        kind, size = tar_header(header)
        if kind in b"xgLK":  # extensions: pax for the next member or for all, GNU's long name or long link
            content = stream.read_extension(size)
            if kind in b"xL":
                extra |= pax_records(content) if kind == b"x" else {"path": content.rstrip(b"\0")}
            continue
        name = extra.get("path", tar_name(header)).decode("utf-8", "surrogateescape")
        kind = b"S" if "sparse" in extra else kind
        if kind not in b"05\0":
            raise refusal(archive, name, f"is {TAR_KINDS.get(kind, 'not a plain file')}")
        folder = kind == b"5" or name.endswith("/")
        blocks = stream.blocks(0 if kind == b"5" else tar_number(extra["size"], 10) if "size" in extra else size)
        yield ArchiveMember(name, folder, blocks)
        for _ in blocks:  # skip what the consumer has not read
            pass
        extra = {}
    while stream.read(BLOCK):  # read to the end, where the decompressors verify their checksums
        pass


def tar_header(header: bytes) -> tuple[bytes, int]:
    """Return a member's type and size from its tar header. Raise `ValueError` if the header's checksum is wrong."""
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != tar_number(header[148:156].strip(b" \0"), 8):
        raise ValueError("it is not a tar or zip archive, or a header is broken")
    size = header[124:136]
    # GNU tar writes sizes of 8 GiB or more in base 256, with the highest bit set.
    return header[156:157], int.from_bytes(size[1:], "big") if size[0] == 0x80 else tar_number(size.strip(b" \0"), 8)


def tar_number(text: bytes, base: int) -> int:
    """Parse a number of at most 20 digits. Empty text means 0. Raise `ValueError` for anything else."""
    if not re.fullmatch(rb"[0-7]{0,20}" if base == 8 else rb"[0-9]{0,20}", text):
        raise ValueError("a field of a header is not a number")
    return int(text or b"0", base)


def tar_name(header: bytes) -> bytes:
    """Return the name from a tar header. A ustar header may store the beginning of the name in a separate field."""
    name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def pax_records(content: bytes) -> dict[str, bytes]:
    """Parse the "LENGTH KEY=VALUE\\n" records of a pax header (POSIX.1-2001).

    Return only the path, the size and, under the key "sparse", any GNU record of a sparse file.
    """
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
    """Yield the items. If reading the archive fails, raise a `UserError` that describes the failure.

    Errors in the code that uses the items are not affected.
    """
    try:
        yield from items
    except DAMAGE_ERRORS as error:
        why = printable_text(str(error)) or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:  # errors raised by decompressors have no errno
            raise UserError(f"{archive} cannot be read ({why}); make the file readable") from None
        raise UserError(f"{archive} is damaged ({why}); delete the archive and download it again") from None


def refusal(archive: Path, name: str, problem: str) -> UserError:
    """Return the error for a member that must not be unpacked."""
    short = printable_text(name if len(name) <= 200 else f"{name[:200]}...")
    return UserError(f"{archive}: '{short}' {problem}, so nothing was unpacked. Use an archive from a source you trust")


def too_large_error(archive: Path, limit: int) -> UserError:
    """Return the error for an archive that unpacks to too many bytes."""
    return UserError(
        f"{archive} unpacks to more than {limit:,} bytes, the limit for an archive of its size, so nothing was "
        "unpacked. Use an archive from a source you trust"
    )
