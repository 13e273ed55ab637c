"""What an image's container says before it is decoded: orientation, pieces, and what a foreign file is."""

import pytest

from imclass.core.errors import BadImage
from imclass.data.images.containers import resemblance
from imclass.data.images.decode import decode
from imclass.data.images.tiff import exif_orientation
from tests.support.corpus import (
    chunk,
    exif,
    foreign,
    jpeg,
    noisy,
    oriented,
    outcome,
    picture,
    rgb_png,
)


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0", b"XX*\0" + bytes(20), exif(0), exif(9), b"MM\0*\xff\xff\xff\xff"]
)
def test_an_orientation_that_makes_no_sense_is_upright(block: bytes) -> None:
    assert exif_orientation(block) == 1
    assert exif_orientation(exif(6)) == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [("page.jpg", "HTML"), ("drawing.jpg", "SVG"), ("archive.jpg", "ZIP"), ("old.ico", "icon"),
     ("document.jpg", "PDF"), ("photoshop.jpg", "Photoshop"), ("telescope.jpg", "FITS"),
     ("postscript.jpg", "PostScript"), ("pointer.png", "git lfs pull"), ("text.jpg", "text"),
     ("zeros.png", "no image")],
)  # fmt: skip
def test_a_foreign_file_is_called_what_it_looks_like(name: str, words: str) -> None:
    content = foreign()[name]
    assert words in resemblance(content)
    with pytest.raises(BadImage, match=words):
        decode(content)


def test_many_pieces_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imclass.data.images.containers.MAX_PIECES", 3)
    for content in (
        jpeg(),
        rgb_png(picture(), chunk(b"tEXt", b"a\0b")),
        noisy("GIF"),
        oriented()["exif 1.webp"][0] * 2,
    ):
        assert outcome(content) == "too-complex"
