"""A parser that reduces TIFF files to their first directory, and a function that reads the EXIF orientation.

The directory is checked, and its metadata is left out. TIFF files and EXIF blocks have the same structure, which is
defined in section 2 of TIFF 6.0. BigTIFF has 8-byte offsets and the version number 43 instead of 42.
"""
# Tested in tests/data/images/test_formats.py

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imclass.core.errors import BadImage
from imclass.data.images.container import MAX_PIECES, Container

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WIDTH, HEIGHT, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 256, 257, 274, 322, 323
# The tags that a decoder needs for the pixels: those with a single number, then those with lists. All others are
# metadata and are left out.
SINGLE_TAGS = frozenset(
    {254, WIDTH, HEIGHT, 259, 262, 266, 277, 278, 284, 292, 293, 317, TILE_WIDTH, TILE_HEIGHT, 332, 531}
)
LIST_TAGS = frozenset({258, 273, 279, 320, 324, 325, 338, 339, 347, 529, 530, 532})


@dataclass(frozen=True)
class TiffField:
    """A field of a directory. `raw` contains either the values or, if they do not fit, their offset in the file."""

    tag: int
    kind: int
    count: int
    raw: bytes

    @property
    def size(self) -> int:
        """Return the size of the values in bytes."""
        return self.count * TYPE_BYTES.get(self.kind, 1)

    def number(self, order: str) -> int:
        """Return the value if it is a single integer; otherwise return 0."""
        form = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(self.kind)
        return int(struct.unpack_from(order + form, self.raw)[0]) if form and self.count == 1 else 0


@dataclass(frozen=True)
class TiffStructure:
    """The byte order and the offset width of a TIFF structure."""

    order: str  # "<" or ">", as in the `struct` module
    big: bool  # whether this is BigTIFF, with 8-byte offsets

    @property
    def offset(self) -> str:
        """Return the `struct` format of an offset."""
        return f"{self.order}{'Q' if self.big else 'I'}"

    def entries(self, block: bytes) -> Iterator[TiffField]:
        """Yield the fields of the first directory. Raise `struct.error` if the block ends within the directory."""
        (at,) = struct.unpack_from(self.offset, block, 8 if self.big else 4)
        count = f"{self.order}{'Q' if self.big else 'H'}"
        (n,) = struct.unpack_from(count, block, at)
        form = f"{self.order}HH{'Q8s' if self.big else 'I4s'}"
        for i in range(min(n, MAX_PIECES)):
            yield TiffField(*struct.unpack_from(form, block, at + struct.calcsize(count) + struct.calcsize(form) * i))

    def directory(self, entries: list[TiffField]) -> bytes:
        """Return the bytes of a directory with these fields, which is marked as the last directory."""
        form = f"{self.order}HH{'Q' if self.big else 'I'}"
        fields = b"".join(struct.pack(form, e.tag, e.kind, e.count) + e.raw for e in entries)
        return struct.pack(f"{self.order}{'Q' if self.big else 'H'}", len(entries)) + fields + bytes(8)


def tiff_structure(block: bytes) -> TiffStructure | None:
    """Return the byte order and offset width of a TIFF structure, or None if the block is not one."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    (version,) = struct.unpack_from(f"{order}H", block, 2)
    return TiffStructure(order, version == 43) if version in (42, 43) else None


def parse_tiff(content: bytes, path: str) -> Container:
    """Parse a TIFF. Replace its first directory with one that has only the fields needed to decode the first frame."""
    form = tiff_structure(content)
    if form is None:
        raise BadImage("damaged", path, "the TIFF does not begin with its header")
    found: dict[int, TiffField] = {}
    for entry in form.entries(content):
        if entry.tag in SINGLE_TAGS | LIST_TAGS:
            found.setdefault(entry.tag, entry)
    kept = [found[tag] for tag in sorted(found)]
    check_entries(kept, form, content, path)
    width, height, across, down = (
        found[tag].number(form.order) if tag in found else 0 for tag in (WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT)
    )
    if not width or not height:
        raise BadImage("damaged", path, "the TIFF has no width and height in its header")
    padded = content + b"\0" * (len(content) % 2)  # a directory begins at an even position
    head = padded[: 8 if form.big else 4] + struct.pack(form.offset, len(padded))
    rewritten = head + padded[len(head) :] + form.directory(kept)
    # A decoder allocates a whole tile, even if little of it lies within the image.
    return Container("TIFF", max(width, across), max(height, down), content, rewritten)


def check_entries(entries: list[TiffField], form: TiffStructure, content: bytes, path: str) -> None:
    """Raise `BadImage` for fields with a wrong type or count, and for lists that overlap or lie outside the file.

    A decoder copies every list, so overlapping lists could take up many times the file's size in memory.
    """
    total = 0  # bytes in all lists
    for entry in entries:
        if entry.kind not in TYPE_BYTES or (entry.tag in SINGLE_TAGS and entry.count != 1):
            raise BadImage("damaged", path, f"field {entry.tag} of the TIFF has a wrong type or count")
        if entry.count > MAX_PIECES and entry.tag != 347:
            raise BadImage("too-complex", path, f"the TIFF has more than {MAX_PIECES:,} strips or tiles")
        if entry.size > len(entry.raw):
            (at,) = struct.unpack(form.offset, entry.raw)
            total += entry.size
            if at + entry.size > len(content):
                raise BadImage("truncated", path, f"field {entry.tag} of the TIFF lies beyond the end of the file")
    if total > len(content):
        raise BadImage("too-complex", path, "the fields of the TIFF overlap")


def exif_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, from the first directory, or 1 if it is missing or invalid."""
    block = exif[6:] if exif.startswith(b"Exif\0") else exif
    form = tiff_structure(block)
    try:
        for entry in form.entries(block) if form else ():
            if entry.tag == ORIENTATION:
                value = entry.number(form.order) if form and entry.kind == 3 else 1
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
