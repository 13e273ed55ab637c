"""The decode function returns the pixels, or refuses a file with a reason. It does nothing else."""

import io
import os
import socket
import stat
import struct
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from imclass.core.errors import BadImage
from imclass.data.images import decode as images
from imclass.data.images.decode import decode
from tests.support import formats
from tests.support.corpus import (
    accepted_files,
    chunk,
    exif,
    foreign,
    huge,
    jpeg,
    oriented_files,
    outcome,
    picture,
    refused_files,
    rgb_png,
    with_segment,
    write_corpus,
)

SOURCE = str(Path(images.__file__).parents[3])
KINDS = {
    **accepted_files(),
    **oriented_files(),
    **refused_files(),
    **formats.accepted_formats(),
    **formats.refused_formats(),
}
HUGE = {name: content for name, content in formats.huge().items() if name not in formats.refused_formats()}


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_is_decoded_or_refused_with_its_code(kind: str) -> None:
    content, expected = KINDS[kind]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = outcome(content)
    assert not warned
    if isinstance(found, str):
        assert found in expected.codes
        return
    assert expected.accepted or expected.pixels is not None
    assert expected.pixels is not None and found.dtype == np.uint8 and found.shape == expected.pixels.shape
    assert np.abs(found.astype(int) - expected.pixels.astype(int)).max() <= expected.tolerance


def test_the_corpus_has_many_good_and_many_bad_files(tmp_path: Path) -> None:
    written = write_corpus(tmp_path)
    assert len(written) >= 80 and {p.name for p in tmp_path.iterdir()} == set(written)
    assert sum(e.accepted for e in written.values()) >= 40
    assert len([e for e in written.values() if not e.accepted]) >= 40


def test_a_file_and_its_bytes_are_decoded_the_same_way(tmp_path: Path) -> None:
    for name, expected in write_corpus(tmp_path).items():
        by_path, by_bytes = outcome(tmp_path / name), outcome((tmp_path / name).read_bytes())
        assert type(by_path) is type(by_bytes), name
        assert np.array_equal(by_path, by_bytes), name
        assert expected.codes or not isinstance(by_path, str)


def test_errors_call_the_file_by_its_path_or_by_the_given_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"")
    with pytest.raises(BadImage, match=r"a\.jpg") as bad:
        decode(path)
    assert bad.value.path == str(path)
    with pytest.raises(BadImage) as bad:
        decode(path, "cat/a.jpg")
    assert (bad.value.code, bad.value.path) == ("empty", "cat/a.jpg")
    with pytest.raises(BadImage) as bad:
        decode(b"")
    assert bad.value.path == "<bytes>"


def test_sixteen_bits_are_scaled_where_pillow_alone_may_clip() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "PNG")
    found = decode(file.getvalue())
    assert len(np.unique(found)) == 256
    assert (np.diff(found[:, :, 0].ravel().astype(int)) >= 0).all()


def test_transparent_pixels_are_white_where_convert_alone_would_show_their_colour() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(file, "PNG")
    assert (decode(file.getvalue()) == 255).all()
    assert not (np.asarray(Image.open(file).convert("RGB")) == 255).all()


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_agrees_with_pillow(value: int) -> None:
    content = with_segment(jpeg(), 0xE1, b"Exif\0\0" + exif(value))
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert np.array_equal(decode(content), shown)
    assert value == 1 or shown.shape != picture().shape or not np.array_equal(shown, decode(jpeg()))


def test_other_formats_are_not_tried_although_pillow_reads_them() -> None:
    content = foreign()["old.ico"]
    assert Image.open(io.BytesIO(content)).size == (16, 16)
    assert outcome(content) == "unsupported"


class TestUnusualPaths:
    def test_missing(self, tmp_path: Path) -> None:
        assert outcome(tmp_path / "a.jpg") == "missing"

    def test_broken_link(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
        assert outcome(tmp_path / "a.jpg") == "missing"

    def test_link_to_a_file_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "b.jpg").write_bytes(jpeg())
        (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
        assert np.array_equal(outcome(tmp_path / "a.jpg"), decode(jpeg()))

    def test_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").symlink_to(tmp_path / "a.jpg")
        assert outcome(tmp_path / "a.jpg") == "unreadable"

    def test_folder(self, tmp_path: Path) -> None:
        assert outcome(tmp_path) == "not-a-file"

    def test_pipe_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.jpg")
        assert stat.S_ISFIFO((tmp_path / "a.jpg").stat().st_mode)
        assert outcome(tmp_path / "a.jpg") == "not-a-file"

    def test_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        with socket.socket(socket.AF_UNIX) as plug:
            plug.bind("a.jpg")
            assert outcome(Path("a.jpg")) == "unreadable"

    def test_path_with_a_nul(self) -> None:
        assert outcome(Path("a\0.jpg")) == "unreadable"

    def test_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        assert outcome(tmp_path / "a.jpg") == "unreadable"

    def test_no_handle_stays_open(self, tmp_path: Path) -> None:
        before = len(os.listdir("/dev/fd"))
        for name in write_corpus(tmp_path):
            outcome(tmp_path / name)
        outcome(tmp_path)
        assert len(os.listdir("/dev/fd")) == before


def test_a_file_too_large_is_refused_by_its_size_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    with path.open("wb") as file:
        file.write(b"BM")
        file.truncate(images.MAX_FILE_BYTES + 1)
    tracemalloc.start()
    assert outcome(path) == "too-large"
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert outcome(b"BM".ljust(images.MAX_FILE_BYTES + 1)) == "too-large"


def test_images_above_the_size_limits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = rgb_png(picture())
    assert isinstance(outcome(content), np.ndarray)
    monkeypatch.setattr(images, "MAX_PIXELS", 16 * 24 - 1)
    assert outcome(content) == "too-many-pixels"
    monkeypatch.setattr(images, "MAX_PIXELS", 16 * 24)
    monkeypatch.setattr(images, "MAX_SIDE", 23)
    assert outcome(content) == "too-many-pixels"


def test_sizes_are_checked_again_after_the_reader_has_seen_them() -> None:
    larger = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0))
    assert outcome(rgb_png(picture(), larger)) == "too-many-pixels"  # of two headers, the decoder uses the second


def test_truncated_images_are_refused_even_where_another_library_allowed_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = KINDS["cut at 90%.jpg"][0]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert Image.open(io.BytesIO(cut)).convert("RGB").size == (40, 40)  # the twin: Pillow would accept it
    assert outcome(cut) == "truncated"


def test_nothing_depends_on_pillows_global_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    assert isinstance(outcome(jpeg()), np.ndarray)
    assert isinstance(outcome(rgb_png(picture())), np.ndarray)


def test_a_decoder_out_of_memory_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", burst)
    with pytest.raises(BadImage, match="MemoryError"):
        decode(rgb_png(picture()))


def test_decompression_bombs_take_little_memory(tmp_path: Path) -> None:
    """Measure the peak memory of a process, which includes that of the decoders."""
    program = (
        "import resource, sys\nfrom pathlib import Path\nfrom imclass.core.errors import BadImage\n"
        "from imclass.data.images.decode import decode\n"
        "decode(Path(sys.argv[1]))\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in sys.argv[2:]:\n    try:\n        decode(Path(name))\n    except BadImage as bad:\n"
        "        print(bad.code)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    write_corpus(tmp_path)
    for name, content in HUGE.items():
        (tmp_path / name).write_bytes(content)
    every = sorted([*huge(), *HUGE])
    command = [sys.executable, "-c", program, "plain.png", "many scans.jpg", *every]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": SOURCE}, capture_output=True, check=True
    )
    *codes, rise = done.stdout.decode().split()
    assert codes == ["too-complex"] + ["too-many-pixels"] * len(every)
    assert int(rise) < 20_000  # KiB


def test_many_threads_decode_the_same_pixels_as_one() -> None:
    contents = [content for content, _ in KINDS.values()] * 3
    alone = [outcome(content) for content in contents]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(outcome, contents))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def damage(content: bytes, changes: list[tuple[float, int]], keep: float) -> bytes:
    """Return `content` with some bytes changed, and cut to a share."""
    changed = bytearray(content)
    for share, value in changes:
        changed[int(share * (len(changed) - 1))] = value
    return bytes(changed[: max(1, round(keep * len(changed)))])


SEEDS = [content for content, _ in KINDS.values() if 0 < len(content) < 20_000]
SHARES = st.floats(0, 1) | st.floats(0, 0.05)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    content=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(SHARES, st.integers(0, 255)), max_size=12),
    keep=st.just(1.0) | st.floats(0, 1),
)
def test_a_damaged_file_is_decoded_or_refused(content: bytes, changes: list[tuple[float, int]], keep: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = outcome(damage(content, changes, keep))
    assert isinstance(found, str) or (found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(start=st.sampled_from([content[:16] for content in SEEDS]), rest=st.binary(max_size=200))
def test_random_bytes_after_a_valid_start_are_decoded_or_refused(start: bytes, rest: bytes) -> None:
    found = outcome(start + rest)
    assert isinstance(found, str) or found.shape[2] == 3
