"""TIFF, AVIF, HEIC and PPM: cases that the corpus of files does not have."""

import io
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image

from imclass.app.cli.main import main
from imclass.core.errors import BadImage
from imclass.data.images import decode as images
from imclass.data.images.decode import decode, pixels_of, read_image_file
from imclass.data.images.heif import sequence_size, sequence_sizes
from tests.support.corpus import encode, jpeg, noisy, outcome, picture, rgb_png
from tests.support.formats import avifs, huge, netpbms, tiffs, wide_header
from tests.support.small import save_untrained, tree


def test_pillow_alone_shows_sixteen_bits_with_white_at_zero_inverted() -> None:
    content, expected = tiffs()["sixteen bits, white is zero.tif"]
    alone = np.asarray(Image.open(io.BytesIO(content))) >> 8
    assert expected.pixels is not None
    assert np.array_equal(255 - alone, expected.pixels[..., 0]) and not np.array_equal(alone, expected.pixels[..., 0])


def test_the_size_of_a_stream_that_is_larger_than_its_boxes_is_read_from_its_header() -> None:
    assert sequence_size(wide_header()) == (40_000, 40_000)
    plain = avifs()["plain.avif"][0]
    stream = plain[plain.index(b"mdat") + 4 :]
    assert next(sequence_sizes(stream)) == (24, 16)
    assert outcome(huge()["huge stream.avif"]) == "too-many-pixels"


def test_a_pillow_without_avif_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(
        BadImage, match="built without AVIF support; install one that has it: pip install --upgrade pillow"
    ) as bad:
        decode(avifs()["plain.avif"][0], "a.avif")
    assert (bad.value.code, bad.value.path) == ("unsupported", "a.avif")


class TestHEIC:
    def test_pixels_are_upright(self) -> None:
        heif = pytest.importorskip("pillow_heif")
        file = io.BytesIO()
        heif.from_pillow(Image.fromarray(picture())).save(file, quality=-1, chroma=444, matrix_coefficients=0)
        assert np.abs(decode(file.getvalue()).astype(int) - picture()).max() <= 2
        assert isinstance(outcome(file.getvalue()), np.ndarray)
        assert outcome(file.getvalue()[:-200]) in ("damaged", "truncated")

    def test_a_size_that_is_too_large_is_read_from_the_header(self, monkeypatch: pytest.MonkeyPatch) -> None:
        heif = pytest.importorskip("pillow_heif")
        file = io.BytesIO()
        heif.from_pillow(Image.fromarray(np.zeros((64, 64, 3), np.uint8))).save(file)
        content = file.getvalue().replace(bytes((0, 0, 0, 64)) * 2, (60_000).to_bytes(4, "big") * 2)
        monkeypatch.setattr(heif, "HeifImageFile", None)
        assert outcome(content) == "too-many-pixels"

    def test_without_its_library_the_error_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + (36).to_bytes(4, "big") + b"meta" + bytes(4)
        content += (24).to_bytes(4, "big") + b"iprp" + (20).to_bytes(4, "big") + b"ipco"
        content = content[:-16] + (36).to_bytes(4, "big") + b"iprp" + (28).to_bytes(4, "big") + b"ipco"
        content += (20).to_bytes(4, "big") + b"ispe" + bytes(4) + (8).to_bytes(4, "big") * 2
        content = content.replace((36).to_bytes(4, "big") + b"meta", (48).to_bytes(4, "big") + b"meta")
        with pytest.raises(BadImage, match=r"pip install 'imclass\[heic\]'"):
            decode(content)


class TestLimits:
    def test_more_pixels_may_be_allowed(self) -> None:
        content = rgb_png(picture())
        with pytest.raises(BadImage, match=r"at most 383 in all .*; set --max-megapixels above 0\.000383"):
            decode(content, max_pixels=24 * 16 - 1)
        assert decode(content, max_pixels=24 * 16).shape == (16, 24, 3)

    @pytest.mark.parametrize("name", ["plain.tif", "plain.pgm", "plain.avif"])
    def test_every_format_respects_the_limit(self, name: str) -> None:
        content = {**tiffs(), **netpbms(), **avifs()}[name][0]
        with pytest.raises(BadImage, match="24 x 16 pixels"):
            decode(content, max_pixels=24 * 16 - 1)

    def test_the_limits_of_sides_and_bytes_grow_with_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        long = rgb_png(np.zeros((1, 16_385, 3), np.uint8))
        assert outcome(long) == "too-many-pixels"
        assert decode(long, max_pixels=60_000_000).shape == (1, 16_385, 3)
        monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
        (tmp_path / "a.jpg").write_bytes(bytes(150))
        with pytest.raises(BadImage, match=r"150 bytes, but at most 100 are read; set --max-megapixels above 50"):
            read_image_file(tmp_path / "a.jpg")
        assert len(read_image_file(tmp_path / "a.jpg", max_pixels=75_000_000)) == 150


class TestPillowImages:
    def test_their_pixels_are_those_of_their_files(self) -> None:
        for content in (
            jpeg(),
            encode(picture(), "PNG"),
            tiffs()["sixteen bits.tif"][0],
            tiffs()["orientation 6.tif"][0],
        ):
            assert np.array_equal(pixels_of(Image.open(io.BytesIO(content)), "a"), decode(content))

    def test_an_image_that_cannot_be_decoded_is_refused(self) -> None:
        with pytest.raises(BadImage, match="the image cannot be decoded"):
            pixels_of(Image.open(io.BytesIO(noisy("JPEG")[:-400])), "a")
        with pytest.raises(BadImage, match="floating-point"):
            pixels_of(Image.new("F", (2, 2)), "a")
        with pytest.raises(BadImage, match="0 x 3 pixels"):
            pixels_of(Image.new("RGB", (0, 3)), "a")


class TestCommandLine:
    def test_a_tree_of_ppm_trains_and_is_checked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for path in sorted(tree(tmp_path / "signs", per_class=4).rglob("*.png")):
            Image.open(path).save(path.with_suffix(".ppm"))
            path.unlink()
        assert main(["data", "check", "signs"]) == 0
        assert "no problems found: all 8 images of 2 classes can be read" in capsys.readouterr().out
        assert main(shlex.split("train mnist-lenet --data signs --epochs 1 --batch 4 --out run")) == 0
        assert main(["evaluate", "run"]) == 0
        assert "2 of 2 evaluated" in capsys.readouterr().out

    def test_every_verb_that_reads_images_can_raise_the_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(images, "MAX_PIXELS", 100)  # images have 144
        tree(tmp_path / "pets", per_class=4)
        save_untrained(tmp_path / "m.safetensors")
        verbs = [
            "data check pets",
            "predict m.safetensors pets",
            "features m.safetensors pets --out f.npy",
            "evaluate m.safetensors --data pets",
            "train mnist-lenet --data pets --epochs 1 --batch 4 --out run",
        ]
        for verb in verbs:
            assert main([*shlex.split(verb), "--max-megapixels", "0.000143"]) in (1, 2)
            assert "12 x 12 pixels" in "".join(capsys.readouterr())
            assert main([*shlex.split(verb), "--max-megapixels", "0.000144"]) == 0, verb
        capsys.readouterr()
        assert main(["predict", "m.safetensors", "pets", "--max-megapixels", "0"]) == 2
        assert "--max-megapixels is 0.0; it must be a number above 0" in capsys.readouterr().err
        assert (
            main([*shlex.split(verbs[-1]), "--max-megapixels", "9"]) == 2
        )  # a run is resumed with the value it began with
        assert "max_megapixels: 0.000144 before, 9.0 now" in capsys.readouterr().err
