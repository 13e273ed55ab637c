"""IDX files are read or refused by name; MNIST and its sample."""

import gzip
import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.data.sets import mnist, mnist_sample
from imclass.data.sets.mnist import read_idx
from imclass.data.source import DataLocation
from imclass.store.store import Store

ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(path: Path, content: bytes, packed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("array", [ARRAY, ARRAY.ravel(), ARRAY[:0], np.zeros((1, 28, 28), np.uint8)])
def test_an_array_is_read_back(tmp_path: Path, array: np.ndarray, packed: bool) -> None:
    found = read_idx(write(tmp_path / "a", idx(array), packed))  # the content shows whether it is packed
    assert found.dtype == np.uint8 and found.shape == array.shape and (found == array).all()
    found[...] = 0  # tensors made of it may be written to


MISTAKES = {
    "empty": (b"", "is not an IDX file"),
    "short": (b"\0\0", "is not an IDX file"),
    "text": (b"<!DOCTYPE html>", "is not an IDX file: it begins with 3c21444f"),
    "no axes": (b"\0\0\x08\0", "is not an IDX file"),
    "floats": (idx(ARRAY, 0x0D), "IDX type 0x0d"),
    "cut header": (idx(ARRAY)[:9], "is truncated in its header"),
    "cut": (idx(ARRAY)[:-1], "declares 2 x 3 x 4 values but contains 23"),
    "longer": (idx(ARRAY) + b"\0", "declares 2 x 3 x 4 values but contains more than 24"),
    "bomb": (b"\0\0\x08\3" + b"\xff" * 12, "at most 2,147,483,648 are read"),
    "cut gzip": (gzip.compress(idx(ARRAY))[:-9], "cannot be read"),
    "flipped gzip": (gzip.compress(idx(ARRAY))[:-6] + b"\0\0\0\0\0\0", "cannot be read"),
    "gzip of nothing": (gzip.compress(b""), "is not an IDX file"),
    "half a gzip header": (b"\x1f\x8b\x08", "cannot be read"),
    "bad deflate": (gzip.compress(b"a")[:10] + b"\xff" * 20, "cannot be read"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    content, words = MISTAKES[kind]
    with pytest.raises(UserError, match=re.escape(words)) as error:
        read_idx(write(tmp_path / "some-ubyte", content))
    assert str(tmp_path / "some-ubyte") in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "a", tmp_path):
        with pytest.raises(UserError, match="is not a file"):
            read_idx(path)


def write_store(folder: Path, name: str = "mnist", packed: bool = False) -> DataLocation:
    """Write a store with a small set in MNIST's layout."""
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 30), ("t10k", 12)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        end = ".gz" if packed else ""
        write(folder / name / f"{prefix}-images-idx3-ubyte{end}", idx(images), packed)
        write(folder / name / f"{prefix}-labels-idx1-ubyte{end}", idx(np.arange(n, dtype=np.uint8) % 10), packed)
    return DataLocation(Store(folder, offline=True))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_files_in_the_store_are_used_as_they_are(tmp_path: Path, name: str, packed: bool) -> None:
    place = write_store(tmp_path, name, packed)
    source = mnist.DATASETS[name]
    train, test = source.open(place)["train"], source.open(place)["test"]
    assert isinstance(train, Dataset) and isinstance(test, Dataset)
    assert train.array is not None and train.array.shape == (30, 28, 28, 1)
    assert len({*train.ids.tolist(), *test.ids.tolist()}) == 42
    assert (
        test.array is not None
        and (test[11] == test.array[11]).all()
        and test.targets.numpy()[11] == 1
        and len(test) == 12
    )
    assert train.name(3) == "train/00003" and test.name(3) == "test/00003"
    assert train.splits == ("train", "test") and train.origin.rule == "published"
    assert len(train.classes) == 10 and train.digest() != test.digest() == source.open(place)["test"].digest()
    if source.get is not None:
        source.get(place)  # nothing to fetch, so nothing forbidden offline


def test_the_digest_depends_on_labels_and_pixels(tmp_path: Path) -> None:
    place = write_store(tmp_path)
    before = mnist.MNIST.open(place)["train"].digest()
    labels = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")
    relabelled = mnist.MNIST.open(place)["train"].digest()
    images = tmp_path / "mnist" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1] + b"\7")
    assert len({before, relabelled, mnist.MNIST.open(place)["train"].digest()}) == 3


def test_a_file_that_is_missing_and_cannot_be_downloaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mnist/train-images-idx3-ubyte\.gz"):
        mnist.MNIST.open(DataLocation(Store(tmp_path, offline=True)))["train"]


@pytest.mark.parametrize(
    ("file", "array", "words"),
    [
        ("train-labels-idx1-ubyte", np.full(30, 10, np.uint8), "has the label 10, but mnist has classes 0 to 9"),
        ("train-labels-idx1-ubyte", np.zeros(29, np.uint8), "has 30 images and .* has 29 labels"),
        ("train-labels-idx1-ubyte", np.zeros((30, 1, 1), np.uint8), "not labels"),
        ("train-images-idx3-ubyte", np.zeros(30, np.uint8), "not images"),
        ("train-images-idx3-ubyte", np.zeros((0, 28, 28), np.uint8), "not images"),
    ],
)
def test_files_that_do_not_fit_together_are_named(tmp_path: Path, file: str, array: np.ndarray, words: str) -> None:
    place = write_store(tmp_path)
    write(tmp_path / "mnist" / file, idx(array))
    with pytest.raises(UserError, match=words) as error:
        mnist.MNIST.open(place)["train"]
    assert str(tmp_path / "mnist" / file) in str(error.value)


class TestSample:
    def test_it_has_ten_thousand_and_two_thousand_digits(self, tmp_path: Path) -> None:
        place = DataLocation(Store(tmp_path / "nowhere", offline=True))
        source = mnist_sample.DATASETS["mnist-sample"]
        train, test = source.open(place)["train"], source.open(place)["test"]
        assert train.array is not None and test.array is not None
        assert (train.array.shape, test.array.shape) == ((10_000, 28, 28, 1), (2_000, 28, 28, 1))
        assert np.bincount(train.targets.numpy()).min() > 800 and np.bincount(test.targets.numpy()).min() > 150
        assert len({*train.ids.tolist(), *test.ids.tolist()}) == 12_000
        assert 30 < train.array.mean() < 36  # MNIST's own mean is 33.3
        assert train.targets.numpy()[:5].tolist() == [5, 0, 4, 1, 9] and test.targets.numpy()[:5].tolist() == [
            7,
            2,
            1,
            0,
            4,
        ]
        assert not (tmp_path / "nowhere").exists()

    def test_its_page_gives_every_files_size_and_digest_and_the_licence(self) -> None:
        page = (mnist_sample.SAMPLE_FOLDER / "README.md").read_text()
        files = list(mnist_sample.SAMPLE_FOLDER.glob("*.gz"))
        assert len(files) == 4 and sum(f.stat().st_size for f in files) < 2_500_000
        for file in files:
            content = file.read_bytes()
            assert f"| {file.name} | {len(content):,} | {hashlib.sha256(content).hexdigest()} |" in page
        assert "CC BY-SA 3.0" in page and "LeCun" in page
