"""TIFF: its first directory, checked and without metadata; and the orientation, which EXIF keeps in such a directory.

TIFF 6.0, section 2; BigTIFF has offsets of 8 bytes and the number 43 where TIFF has 42.
"""
# Tested in tests/data/images/test_formats.py

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imclass.core.errors import BadImage
from imclass.data.images.container import MAX_PIECES, Container

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WIDTH, HEIGHT, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 256, 257, 274, 322, 323
# What a decoder needs of the pixels: one number each, then lists. All else is metadata and is left out.
SINGLE_TAGS = frozenset(
    {254, WIDTH, HEIGHT, 259, 262, 266, 277, 278, 284, 292, 293, 317, TILE_WIDTH, TILE_HEIGHT, 332, 531}
)
LIST_TAGS = frozenset({258, 273, 279, 320, 324, 325, 338, 339, 347, 529, 530, 532})


@dataclass(frozen=True)
class TiffField:
    """A field of a directory: type and count of its values, and these or their offset, as they stand there."""

    tag: int
    kind: int
    count: int
    raw: bytes

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return self.count * TYPE_BYTES.get(self.kind, 1)

    def number(self, order: str) -> int:
        """Return a single whole number; 0 for anything else."""
        form = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(self.kind)
        return int(struct.unpack_from(order + form, self.raw)[0]) if form and self.count == 1 else 0


@dataclass(frozen=True)
class TiffStructure:
    """How a TIFF structure is written: byte order and width of its offsets; "" for what is none."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        """The struct code of an offset."""
        return f"{self.order}{'Q' if self.big else 'I'}"

    def entries(self, block: bytes) -> Iterator[TiffField]:
        """Yield the fields of the first directory. Raise `struct.error` where the block ends within them."""
        (at,) = struct.unpack_from(self.offset, block, 8 if self.big else 4)
        many = f"{self.order}{'Q' if self.big else 'H'}"
        (n,) = struct.unpack_from(many, block, at)
        form = f"{self.order}HH{'Q8s' if self.big else 'I4s'}"
        for i in range(min(n, MAX_PIECES)):
            yield TiffField(*struct.unpack_from(form, block, at + struct.calcsize(many) + struct.calcsize(form) * i))

    def written(self, entries: list[TiffField]) -> bytes:
        """Return a directory of these fields, after which there is none."""
        form = f"{self.order}HH{'Q' if self.big else 'I'}"
        fields = b"".join(struct.pack(form, e.tag, e.kind, e.count) + e.raw for e in entries)
        return struct.pack(f"{self.order}{'Q' if self.big else 'H'}", len(entries)) + fields + bytes(8)


def tiff_structure(block: bytes) -> TiffStructure | None:
    """Return how a block is written, or `None` where it is no TIFF structure."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    (version,) = struct.unpack_from(f"{order}H", block, 2)
    return TiffStructure(order, version == 43) if version in (42, 43) else None


def parse_tiff(content: bytes, path: str) -> Container:
    """Return the first frame of a TIFF, its directory rewritten at the end with the fields that pixels need alone."""
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
        raise BadImage("damaged", path, "the TIFF does not say its width and height")
    begin = content + b"\0" * (len(content) % 2)
    head = begin[:8] + struct.pack(form.offset, len(begin)) if form.big else begin[:4]
    head = head if form.big else head + struct.pack(form.offset, len(begin))
    whole = head + begin[len(head) :] + form.written(kept)
    # A decoder allocates a whole tile, however little of it lies within the image.
    return Container("TIFF", max(width, across), max(height, down), content, whole)


def check_entries(entries: list[TiffField], form: TiffStructure, content: bytes, path: str) -> None:
    """Raise `BadImage` for fields of the wrong form, and for lists that overlap or lie outside of the file.

    A decoder copies every list, so that many of one stretch of the file would take many times its size.
    """
    long = 0
    for entry in entries:
        if entry.kind not in TYPE_BYTES or (entry.tag in SINGLE_TAGS and entry.count != 1):
            raise BadImage("damaged", path, f"field {entry.tag} of the TIFF has {entry.count:,} values of a wrong type")
        if entry.count > MAX_PIECES and entry.tag != 347:
            raise BadImage("too-complex", path, f"the TIFF has more than {MAX_PIECES:,} strips or tiles")
        if entry.size > len(entry.raw):
            (at,) = struct.unpack(form.offset, entry.raw)
            long += entry.size
            if at + entry.size > len(content):
                raise BadImage("truncated", path, f"field {entry.tag} of the TIFF lies beyond the end of the file")
    if long > len(content):
        raise BadImage("too-complex", path, "the fields of the TIFF overlap")


def exif_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, from the first directory; 1 where the block is missing or has none."""
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
