"""Facts read from an image file before it is decoded: its orientation, its pieces, and the kind of a foreign file."""

import pytest

from imclass.core.errors import BadImage
from imclass.data.images.containers import describe_unreadable
from imclass.data.images.decode import decode
from imclass.data.images.tiff import exif_orientation
from tests.support.corpus import (
    chunk,
    exif,
    foreign,
    jpeg,
    noisy,
    oriented_files,
    outcome,
    picture,
    rgb_png,
)


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0", b"XX*\0" + bytes(20), exif(0), exif(9), b"MM\0*\xff\xff\xff\xff"]
)
def test_an_invalid_orientation_counts_as_upright(block: bytes) -> None:
    assert exif_orientation(block) == 1
    assert exif_orientation(exif(6)) == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [("page.jpg", "HTML"), ("drawing.jpg", "SVG"), ("archive.jpg", "ZIP"), ("old.ico", "icon"),
     ("document.jpg", "PDF"), ("photoshop.jpg", "Photoshop"), ("telescope.jpg", "FITS"),
     ("postscript.jpg", "PostScript"), ("pointer.png", "git lfs pull"), ("text.jpg", "text"),
     ("zeros.png", "not in a known image format")],
)  # fmt: skip
def test_a_file_of_another_format_is_described(name: str, words: str) -> None:
    content = foreign()[name]
    assert words in describe_unreadable(content)
    with pytest.raises(BadImage, match=words):
        decode(content)


def test_a_file_of_too_many_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imclass.data.images.containers.MAX_PIECES", 3)
    for content in (
        jpeg(),
        rgb_png(picture(), chunk(b"tEXt", b"a\0b")),
        noisy("GIF"),
        oriented_files()["exif 1.webp"][0] * 2,
    ):
        assert outcome(content) == "too-complex"
