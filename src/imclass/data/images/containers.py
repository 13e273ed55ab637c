"""Parsers for image files. They run before any decoder and determine the format, size and orientation.

The decoder reads only the first frame. Comments, colour profiles, thumbnails and any data after that frame are left out
wherever the decoder would read them, so decoding is neither prevented by a broken EXIF block nor slowed down by a huge
text chunk. Sizes are read from every header that determines how much memory a decoder allocates.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from imclass.core.errors import BadImage
from imclass.data.images.container import MAX_PIECES, Container
from imclass.data.images.heif import heif_kind, parse_heif
from imclass.data.images.netpbm import NETPBM_START, parse_netpbm
from imclass.data.images.tiff import parse_tiff

# Each scan of a progressive JPEG may touch every pixel again. Encoders write about ten scans.
MAX_SCANS = 100
# Within the image data, FF 00 is an escaped byte and FF D0 to FF D7 are restart markers: neither begins a segment.
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
JPEG_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")

SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
)
READABLE_FORMATS = "imclass reads JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC and PPM"
FOREIGN_SIGNATURES = (
    (4, b"ftyp", "a video"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (0, b"SIMPLE  =", "a FITS image"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"\0\0\1\0", "an icon file"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer; download the image itself with `git lfs pull`"),
)


def parse_container(content: bytes, path: str) -> Container:
    """Parse an image file. Raise `BadImage` with the code "unsupported", "damaged", "too-complex" or "truncated"."""
    form = format_of(content)
    if not form:
        raise BadImage("unsupported", path, f"this is {describe_unreadable(content)}; {READABLE_FORMATS}")
    try:
        return PARSERS[form](content, path)
    except (struct.error, IndexError):
        raise BadImage("truncated", path, f"the {form} file is truncated in its header") from None


def format_of(content: bytes) -> str:
    """Return the format indicated by the first bytes of a file: a key of `PARSERS`, or "" if the format is unknown."""
    found = next((name for at, magic, name in SIGNATURES if content.startswith(magic, at)), "")
    return found or heif_kind(content) or ("PPM" if NETPBM_START.match(content) else "")


def describe_unreadable(content: bytes) -> str:
    """Return what a file is if it is not a readable image, such as "a PDF document"."""
    found = next((name for at, magic, name in FOREIGN_SIGNATURES if content.startswith(magic, at)), None)
    if found:
        return found
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    printable = start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start)
    return "text" if start and printable else "not in a known image format"


def parse_jpeg(content: bytes, path: str) -> Container:
    """Parse a JPEG up to its first end marker. An MPO file contains several JPEGs, of which only the first is kept.

    Comments and application segments are left out, except APP0 and APP14, which determine how colours are decoded.
    """
    kept, sizes, exif = [], [(0, 0)], b""
    scans = begin = 0  # `begin` is the position of the next piece to copy
    end = len(content)
    for start, marker, body in jpeg_segments(content, path):
        if marker == 0xD9:
            end = start + 2
            break
        if marker in JPEG_FRAME:
            sizes.append(struct.unpack_from(">xHH", body)[::-1])
        scans += marker == 0xDA
        if scans > MAX_SCANS:
            raise BadImage("too-complex", path, f"the JPEG has more than {MAX_SCANS} scans")
        if marker == 0xE1 and body.startswith(b"Exif\0") and not exif:
            exif = body
        if marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE):
            kept.append(content[begin:start])
            begin = start + 4 + len(body)
    kept.append(content[begin:end])
    return Container("JPEG", max(w for w, _ in sizes), max(h for _, h in sizes), exif, b"".join(kept))


def jpeg_segments(content: bytes, path: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield the position, marker and body of each JPEG segment. Bytes between segments are skipped."""
    at = 2
    for _ in range(MAX_PIECES):
        found = JPEG_MARKER.search(content, at)
        if found is None:
            return
        marker, at = content[found.end() - 1], found.end()
        if marker in (0x01, 0xD8, 0xD9):  # segments without a body
            yield at - 2, marker, b""
            continue
        (length,) = struct.unpack_from(">H", content, at)
        yield at - 2, marker, content[at + 2 : at + length]
        at += max(2, length)
    raise BadImage("too-complex", path, f"the JPEG has more than {MAX_PIECES:,} segments")


def parse_png(content: bytes, path: str) -> Container:
    """Parse a PNG. Only critical chunks and transparency are kept, so an animation is reduced to its default image."""
    kept, at, exif = [content[:8]], 8, b""
    first, width, height = struct.unpack_from(">4x4sII", content, 8)
    if first != b"IHDR":
        raise BadImage("damaged", path, "the PNG does not begin with its header")
    for _ in range(MAX_PIECES):
        if at + 8 > len(content):
            break
        length, kind = struct.unpack_from(">I4s", content, at)
        piece = content[at : at + 12 + length]
        at += 12 + length
        if kind in PNG_KEPT:
            kept.append(piece)
        if kind == b"eXIf" and not exif:
            exif = piece[8:-4]
        if kind == b"IEND":
            break
    else:
        raise BadImage("too-complex", path, f"the PNG has more than {MAX_PIECES:,} chunks")
    return Container("PNG", width, height, exif, b"".join(kept))


def parse_gif(content: bytes, path: str) -> Container:
    """Parse a GIF up to the end of its first frame.

    Of its extensions, only the graphic control extension of that frame is kept.
    """
    width, height, flags = struct.unpack_from("<6xHHB", content)
    at = 13 + colour_table_bytes(flags)
    kept, control = [content[:at]], b""
    for _ in range(MAX_PIECES):
        kind = content[at : at + 1]
        if kind in (b",", b";", b""):
            break
        end = skip_blocks(content, at + 2, path) if kind == b"!" else at + 1  # stray bytes between blocks are skipped
        if content[at : at + 2] == b"!\xf9":
            control = content[at:end]
        at = end
    if kind == b",":
        left, top, w, h, flags = struct.unpack_from("<HHHHB", content, at + 1)
        width, height = max(width, left + w), max(height, top + h)
        end = skip_blocks(content, at + 11 + colour_table_bytes(flags), path)
        kept += [control, content[at:end]]
    return Container("GIF", width, height, b"", b"".join([*kept, b";"]))


def colour_table_bytes(flags: int) -> int:
    """Return the size in bytes of the colour table that a GIF's flags declare, or 0 if they declare none."""
    return 3 << ((flags & 7) + 1) if flags & 128 else 0


def skip_blocks(content: bytes, at: int, path: str) -> int:
    """Return the position after a series of GIF data blocks, or the end of the file if the series is not terminated."""
    for _ in range(MAX_PIECES):
        if at >= len(content):
            return len(content)
        length = content[at]
        at += 1 + length
        if length == 0:
            return at
    raise BadImage("too-complex", path, f"the GIF has more than {MAX_PIECES:,} data blocks")


def parse_bmp(content: bytes, path: str) -> Container:
    """Parse a BMP. Its content is kept unchanged, because decoders read no metadata from a BMP."""
    (header,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", content, 18)
    return Container("BMP", width, abs(height), b"", content)


def parse_webp(content: bytes, path: str) -> Container:
    """Parse a WebP. The width and height are the largest values declared for its canvas or for any image in it.

    Its content is kept unchanged, because the decoder stops after the first frame.
    """
    sizes, exif, at = [(0, 0)], b"", 12
    for _ in range(MAX_PIECES):
        if at + 8 > len(content):
            break
        kind, length = struct.unpack_from("<4sI", content, at)
        body = content[at + 8 : at + 8 + length]
        sizes.append(webp_size(kind, body))
        if kind == b"EXIF" and not exif:
            exif = body
        at += 8 + length + length % 2
    else:
        raise BadImage("too-complex", path, f"the WebP has more than {MAX_PIECES:,} chunks")
    return Container("WebP", max(w for w, _ in sizes), max(h for _, h in sizes), exif, content)


def webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Return the width and height declared by a WebP chunk, or zeros if it declares none."""
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return 0, 0


PARSERS: Mapping[str, Callable[[bytes, str], Container]] = MappingProxyType(
    {
        "JPEG": parse_jpeg,
        "PNG": parse_png,
        "GIF": parse_gif,
        "BMP": parse_bmp,
        "WebP": parse_webp,
        "TIFF": parse_tiff,
        "AVIF": parse_heif,
        "HEIC": parse_heif,
        "PPM": parse_netpbm,
    }
)
