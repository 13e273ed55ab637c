"""A parser for AVIF and HEIC files, which consist of ISO/IEC 14496-12 boxes. Sizes are read without decoding.

The primary picture counts as the first frame. An AVIF decoder allocates memory for the size in the header of the
AV1 stream (AV1 specification, section 5.5), not for the sizes in the boxes, so both are read. For HEVC streams,
libheif itself enforces limits.
"""
# Tested in tests/data/images/test_formats.py

import struct
from collections.abc import Iterator

from imclass.core.errors import BadImage
from imclass.data.images.container import MAX_PIECES, Container

AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
GENERAL_BRANDS = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})  # used by both formats; the brands that follow decide


def heif_kind(content: bytes) -> str:
    """Return "AVIF" or "HEIC", according to the first brand that only one of them uses, or "" for other files."""
    if content[4:8] != b"ftyp":
        return ""
    (length,) = struct.unpack_from(">I", content)
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, min(length, len(content), 1024), 4))]
    for brand in brands if brands[0] in AVIF_BRANDS | HEIC_BRANDS | GENERAL_BRANDS else ():
        if brand in AVIF_BRANDS:
            return "AVIF"
        if brand in HEIC_BRANDS:
            return "HEIC"
    return ""


def boxes(content: bytes, at: int, end: int, path: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box between two positions, and the positions where its body begins and ends."""
    for _ in range(MAX_PIECES):
        if at + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", content, at)
        begin = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, begin)
            begin += 8
        stop = at + length if length else end
        if stop < begin or stop > end:
            raise BadImage("truncated", path, f"the {kind.decode('latin-1')!r} box extends beyond the end of the file")
        yield kind, begin, stop
        at = stop
    raise BadImage("too-complex", path, f"the file has more than {MAX_PIECES:,} boxes")


def parse_heif(content: bytes, path: str) -> Container:
    """Parse an AVIF or HEIC file. The width and height are the largest values in any header.

    The content is kept unchanged, except that an AVIF animation is relabelled as a still picture, because a decoder
    would otherwise read the animation instead of the primary picture.
    """
    kind = heif_kind(content)
    meta = {k: (a, b) for k, a, b in boxes(content, 0, len(content), path)}.get(b"meta")
    if meta is None:
        raise BadImage("unsupported", path, f"this {kind} is a video without a still picture")
    inside = {k: (a, b) for k, a, b in boxes(content, meta[0] + 4, meta[1], path)}
    sizes = [(0, 0), *property_sizes(content, inside, path)]
    if kind == "AVIF":
        sizes += stream_sizes(content, inside, path)
        content = content[:8] + b"avif" + content[12:] if content[8:12] == b"avis" else content
    return Container(kind, max(w for w, _ in sizes), max(h for _, h in sizes), b"", content)


BoxSpans = dict[bytes, tuple[int, int]]  # the beginning and end of each box in "meta", keyed by kind


def property_sizes(content: bytes, inside: BoxSpans, path: str) -> Iterator[tuple[int, int]]:
    """Yield the width and height from each "ispe" (image spatial extents) property."""
    for kind, begin, end in boxes(content, *inside.get(b"iprp", (0, 0)), path):
        if kind == b"ipco":
            for inner, at, _ in boxes(content, begin, end, path):
                if inner == b"ispe":
                    yield struct.unpack_from(">4xII", content, at)


def stream_sizes(content: bytes, inside: BoxSpans, path: str) -> Iterator[tuple[int, int]]:
    """Yield the largest width and height allowed by each sequence header in the AV1 streams."""
    pictures = av1_items(content, inside, path)
    total = 0
    for item, extents in item_extents(content, inside):
        total += sum(length for _, length in extents)
        # A decoder copies the pieces of an item to join them, so overlapping pieces could take any amount of memory.
        if total > len(content):
            raise BadImage("too-complex", path, "the pieces of the AVIF overlap")
        if item in pictures:
            yield from sequence_sizes(b"".join(content[at : at + length] for at, length in extents))


def av1_items(content: bytes, inside: BoxSpans, path: str) -> set[int]:
    """Return the ids of the items that are AV1 pictures."""
    begin, end = inside.get(b"iinf", (0, 0))
    found = set()
    for kind, at, _ in boxes(content, begin + (6 if content[begin : begin + 1] == b"\0" else 8), end, path):
        version = content[at]
        if kind == b"infe" and version >= 2:
            number, name = struct.unpack_from(">4xH2x4s" if version == 2 else ">4xI2x4s", content, at)
            if name == b"av01":
                found.add(number)
    return found


def item_extents(content: bytes, inside: BoxSpans) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the id of each item in the "iloc" box, with the positions and lengths of its pieces in the file."""
    at, end = inside.get(b"iloc", (0, 0))
    if at == end:
        return
    version, sizes, bases = struct.unpack_from(">B3xBB", content, at)
    wide = "H" if version < 2 else "I"
    (items,) = struct.unpack_from(f">{wide}", content, at + 6)
    at += 6 + struct.calcsize(f">{wide}")

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(content[at - size : at], "big")

    for _ in range(min(items, MAX_PIECES)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)  # the file that contains the item; 0 is this file
        base, extents = number(bases >> 4), []
        for _ in range(number(2)):
            number(bases & 15 if version else 0)
            place, length = number(sizes >> 4), number(sizes & 15)
            start = inside.get(b"idat", (0, 0))[0] if method == 1 else 0
            extents.append((start + base + place, length or len(content)))
            if at > end:
                return
        yield item, extents


def sequence_sizes(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield the largest width and height allowed by each sequence header in an AV1 stream."""
    at = 0
    while at < len(stream):
        head = stream[at]
        at += 2 if head & 4 else 1
        length = len(stream) - at
        if head & 2:  # the unit's length follows in LEB128: 7 bits per byte, the lowest bits first
            length = shift = 0
            while at < len(stream) and shift < 56:
                length |= (stream[at] & 127) << shift
                at += 1
                shift += 7
                if stream[at - 1] < 128:
                    break
        if head >> 3 & 15 == 1:
            yield sequence_size(stream[at : at + length])
        at += length


def sequence_size(header: bytes) -> tuple[int, int]:
    """Return the largest width and height allowed by an AV1 sequence header."""
    bits = "".join(f"{byte:08b}" for byte in header[:256]).ljust(4096, "0")
    at = 4  # the profile and the still-picture flag come first

    def number(n: int) -> int:
        nonlocal at
        at += n
        return int(bits[at - n : at], 2) if n else 0

    if number(1):  # a still picture's reduced header
        number(5)
    else:
        delay = 0
        if timed := number(1):
            number(64)
            if number(1):  # the duration of a picture, in Exp-Golomb code
                zeros = bits.index("1", at) - at
                number(2 * zeros + 1)
        modelled = number(1) if timed else 0
        if modelled:
            delay = number(5) + 1
            number(42)
        displayed = number(1)
        for _ in range(number(5) + 1):
            number(12)
            if number(5) > 7:
                number(1)
            if modelled and number(1):
                number(2 * delay + 1)
            if displayed and number(1):
                number(4)
    across, down = number(4) + 1, number(4) + 1
    return number(across) + 1, number(down) + 1
