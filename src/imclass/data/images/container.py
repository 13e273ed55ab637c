"""The result of parsing an image file, the same for every format."""
# Tested in tests/data/images/test_containers.py

from dataclasses import dataclass

MAX_PIECES = 1_000_000  # segments, chunks, blocks and strips of one file


@dataclass(frozen=True)
class Container:
    """The first frame of an image file, still compressed."""

    format: str  # a key of `containers.PARSERS`
    width: int  # pixels; where headers differ, the largest
    height: int  # pixels; where headers differ, the largest
    exif: bytes  # the EXIF block, a TIFF structure; empty if the file has none
    content: bytes  # a file of this format with that frame and no metadata
