"""PPM, PGM and PBM files: a header of numbers, then pixels (https://netpbm.sourceforge.net/doc/).

NumPy decodes the pixels. For any maximum sample value other than 255, Pillow would loop over the pixels in Python,
which takes seconds per photo.
"""
# Tested in tests/data/images/test_formats.py

import re

import numpy as np
from jaxtyping import Int64, UInt8

from imclass.core.errors import BadImage
from imclass.data.images.container import Container

SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"  # a comment counts as a line break
NETPBM_START = re.compile(rb"P[1-6](?:\s|#)")
HEADER = re.compile(rb"P([1-6])" + SPACE + rb"(\d{1,9})" + SPACE + rb"(\d{1,9})(?=\s|#)")
LEVELS = re.compile(SPACE + rb"(\d{1,5})(?=\s|#)")
COMMENT = re.compile(rb"#[^\r\n]*")


def parse_netpbm(content: bytes, path: str) -> Container:
    """Parse a PPM, PGM or PBM file. Its content is kept unchanged."""
    found = HEADER.match(content)
    if found is None:
        raise BadImage("damaged", path, "the PPM has no width and height in its header")
    return Container("PPM", int(found[2]), int(found[3]), b"", content)


def decode_netpbm(container: Container, path: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return the pixels of the first image in the file. The size of the image has already been checked."""
    content, height, width = container.content, container.height, container.width
    found = HEADER.match(content)
    kind, at = int(found[1]) if found else 0, found.end() if found else 0
    highest = 1  # sample value
    if kind not in (1, 4):
        levels = LEVELS.match(content, at)
        if levels is None or not 0 < int(levels[1]) < 65536:
            raise BadImage("damaged", path, "the PPM header has no valid maximum sample value (1 to 65535)")
        highest, at = int(levels[1]), levels.end()
    channels = 3 if kind in (3, 6) else 1
    if kind == 4:
        row = -(-width // 8)
        packed = read_binary(content, at + 1, np.dtype(np.uint8), height * row, path).reshape(height, row)
        values = 1 - np.unpackbits(packed, axis=1, count=width)  # 1 is black
    elif kind > 4:
        form = np.dtype(">u2" if highest > 255 else np.uint8)
        values = read_binary(content, at + 1, form, height * width * channels, path)
    else:
        values = read_digits(content[at:], kind, height * width * channels, highest, path)
    image = scale_levels(values, highest).reshape(height, width, channels)
    return np.broadcast_to(image, (height, width, 3)).copy()


def read_binary(content: bytes, at: int, form: np.dtype, count: int, path: str) -> np.ndarray:
    """Return `count` numbers of type `form`, the first of which is at position `at`."""
    held, needed = max(0, len(content) - at), count * form.itemsize
    if held < needed:
        raise BadImage("truncated", path, f"the PPM has {held:,} bytes of pixels, but its size requires {needed:,}")
    return np.frombuffer(content, form, count, at)


def read_digits(text: bytes, kind: int, count: int, highest: int, path: str) -> Int64[np.ndarray, "N"]:
    """Return the first `count` numbers in a text of decimal numbers.

    In a PBM, every digit is a number of its own, and 1 means black.
    """
    text = COMMENT.sub(b"", text)
    if kind == 1:
        digits = np.frombuffer(re.sub(rb"\s+", b"", text), np.uint8)[:count].astype(np.int64) - ord("0")
        values = np.where((digits == 0) | (digits == 1), 1 - digits, -1)
    else:
        plain = re.match(rb"[\d\s]*", text)
        values = np.fromstring(plain[0].decode() if plain and plain[0].strip() else "", np.int64, sep=" ")[:count]
    if len(values) < count:
        raise BadImage("truncated", path, f"the PPM has only {len(values):,} of {count:,} numbers")
    if len(values) and not 0 <= values.min() <= values.max() <= highest:
        raise BadImage("damaged", path, f"a sample value in the PPM is outside the range 0 to {highest}")
    return values


def scale_levels(values: np.ndarray, highest: int) -> np.ndarray:
    """Scale sample values from 0..`highest` to 0..255. If `highest` is 65535, keep the upper byte."""
    if highest == 255:
        return values.astype(np.uint8)
    if highest == 65535:
        return (values >> 8).astype(np.uint8)
    table = (np.arange(65536, dtype=np.int64).clip(0, highest) * 255 + highest // 2) // highest
    return table.astype(np.uint8)[values]
