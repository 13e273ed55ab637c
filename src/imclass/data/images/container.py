"""The result of parsing an image file. It has the same form for all formats."""
# Tested in tests/data/images/test_containers.py

from dataclasses import dataclass

MAX_PIECES = 1_000_000  # segments, chunks, blocks or strips in one file


@dataclass(frozen=True)
class Container:
    """The first frame of an image file, still compressed."""

    format: str  # a key of `containers.PARSERS`
    width: int  # pixels; the largest if headers differ
    height: int  # pixels; the largest if headers differ
    exif: bytes  # the EXIF block, a TIFF structure; empty if the file has none
    content: bytes  # a file of this format with that frame and no metadata
