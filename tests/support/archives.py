"""Valid and malicious archives, and helpers that unpack them and check a folder and its neighbours."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from imclass.core.errors import UserError
from imclass.store.archives import extract

State: TypeAlias = dict[str, bytes | None]
Plain: TypeAlias = tuple[str, bytes]


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", pax: Mapping[str, str] | None = None
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, link, dict(pax or {})
    return info


def tar(*members: Plain | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar archive. A tuple is the name and content of a plain file; anything else is a header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for member in members:
            info, content = (member, b"") if isinstance(member, tarfile.TarInfo) else (entry(member[0]), member[1])
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_archive(*members: Plain | tuple[zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def record(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """Return a tar header with any name, size and kind, and the checksum that matches them."""
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size.ljust(12, b"\0") + b"0" * 11 + b"\0"
    tail = kind + bytes(100) + b"ustar\x0000" + bytes(247)
    return head + b"%06o\0 " % (sum(head) + 8 * 32 + sum(tail)) + tail


def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def overlapping_zip(copies: int) -> bytes:
    """Return a zip archive whose directory lists the same compressed bytes `copies` times."""
    single = zip_archive(("a", bytes(100_000)))
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


def patch_bytes(archive: bytes, old: bytes, new: bytes, everywhere: bool = True) -> bytes:
    assert len(old) == len(new) and old in archive
    return archive.replace(old, new, -1 if everywhere else 1)


def encrypted_zip() -> bytes:
    archive = bytearray(zip_archive(("a", b"secret")))
    archive[6] |= 1
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    return bytes(archive)


def state(folder: Path) -> State:
    """Return all paths below a folder: files with their content, and None for the rest."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() and not p.is_symlink() else None
        for p in sorted(folder.rglob("*"))
    }


def unpack(content: bytes, base: Path, max_bytes: int = 1 << 30, max_files: int = 100) -> State:
    """Return what the archive unpacks to in `base`."""
    archive = base.parent.parent / "archive"
    archive.write_bytes(content)
    before = state(base.parent.parent)
    found = extract(archive, base, max_bytes, max_files)
    after = state(base)
    assert sorted(found) == sorted(base / name for name, file in after.items() if file is not None)
    inside = {f"place/base/{name}": file for name, file in after.items()}
    assert state(base.parent.parent) == before | {"place/base": None} | inside
    return after


def refusal_of(content: bytes, base: Path, max_bytes: int = 1 << 30, max_files: int = 100) -> str:
    """Return the message with which the archive is refused, after checking that nothing has changed on disk."""
    archive = base.parent.parent / "archive"
    archive.write_bytes(content)
    before = state(base.parent.parent)
    with pytest.raises(UserError) as caught:
        extract(archive, base, max_bytes, max_files)
    assert state(base.parent.parent) == before
    assert str(archive) in str(caught.value)
    return str(caught.value)


def contents(found: State) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if content is not None}
