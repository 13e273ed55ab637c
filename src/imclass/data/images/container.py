"""An image file taken apart: what every format's walk through its pieces gives."""
# Tested in tests/data/images/test_containers.py

from dataclasses import dataclass

MAX_PIECES = 1_000_000  # segments, chunks, blocks and strips of one file


@dataclass(frozen=True)
class Container:
    """The first frame of an image file, still compressed."""

    format: str  # a key of `containers.PARSERS`
    width: int  # pixels, as the headers say: the largest of them where there are several
    height: int
    exif: bytes  # the EXIF block, a TIFF structure; empty where there is none
    content: bytes  # a file of this format with that frame and no metadata
