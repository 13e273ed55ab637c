"""Hashes of files and of pixels, and the number of times that a file is read for them."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from imclass.app.cli.main import main
from imclass.core.config import Cut
from imclass.data import contents
from imclass.data.catalog import open_split
from imclass.data.contents import contents_of_array, contents_of_files
from imclass.data.images.decode import hash_of
from imclass.models.classifier import load_network_classifier
from imclass.store.context import Context, open_context
from imclass.store.digests import Digests, Stamp, open_digests
from imclass.store.store import Store
from tests.support.small import tree

WORD = 2**64


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each file is read to be hashed, by folder and name."""
    counted: Counter[str] = Counter()

    def counting(path: Path) -> bytes:
        counted[f"{path.parent.name}/{path.name}"] += 1
        return hash_of(path)

    monkeypatch.setattr(contents, "hash_of", counting)
    return counted


def files(folder: Path, n: int = 5, age: int = 60) -> list[Path]:
    """Write files that look `age` seconds old."""
    folder.mkdir(exist_ok=True)
    found = [folder / f"{i}.png" for i in range(n)]
    for i, file in enumerate(found):
        file.write_bytes(b"%d" % i * 100)
        grow_old(file, age)
    return found


def grow_old(file: Path, age: int = 60) -> None:
    times = file.stat()
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns - age * 10**9))


def word(content: bytes) -> int:
    return int(hashlib.sha256(content).hexdigest()[:16], 16)


def test_the_content_of_a_file_is_its_bytes_and_that_of_an_array_its_pixels(tmp_path: Path) -> None:
    found = files(tmp_path / "a")
    kept = open_digests(Store(tmp_path / "store"))
    assert contents_of_files(found, kept).tolist() == [word(file.read_bytes()) for file in found]
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    expected = [word(image.tobytes()) for image in pixels]
    assert contents_of_array(pixels).tolist() == contents_of_array(np.asfortranarray(pixels)).tolist() == expected
    assert len(contents_of_files([], kept)) == len(contents_of_array(pixels[:0])) == 0


def test_a_file_that_cannot_be_read_counts_by_its_refusal_code(tmp_path: Path, reads: Counter[str]) -> None:
    (tmp_path / "folder.png").mkdir()
    paths, kept = [tmp_path / "folder.png", tmp_path / "gone.png"], open_digests(Store(tmp_path / "store"))
    for _ in range(2):
        assert contents_of_files(paths, kept).tolist() == [word(b"not-a-file"), word(b"missing")]
    assert sorted(reads.values()) == [2, 2]


def test_a_second_start_reads_only_files_that_have_changed(tmp_path: Path, reads: Counter[str]) -> None:
    found, kept = files(tmp_path / "a"), open_digests(Store(tmp_path / "store"))
    first = contents_of_files(found, kept)
    assert set(reads.values()) == {1} and len(reads) == 5
    reads.clear()
    assert (contents_of_files(found, kept) == first).all() and not reads
    found[1].write_bytes(b"longer" * 100)
    grow_old(found[1])
    found[3].write_bytes(b"x" * 100)  # of the same size
    grow_old(found[3], 30)
    second = contents_of_files(found, kept)
    assert reads == {"a/1.png": 1, "a/3.png": 1}
    assert (second != first).tolist() == [False, True, False, True, False]


def test_a_file_that_has_just_been_written_is_read_again(tmp_path: Path, reads: Counter[str]) -> None:
    found, kept = [*files(tmp_path / "a", 2), *files(tmp_path / "b", 1, age=0)], open_digests(Store(tmp_path / "store"))
    contents_of_files(found, kept)
    contents_of_files(found, kept)
    assert reads == {"a/0.png": 1, "a/1.png": 1, "b/0.png": 2}


def test_without_an_index_files_are_hashed(tmp_path: Path, reads: Counter[str]) -> None:
    found, kept = files(tmp_path / "a"), open_digests(Store(tmp_path / "store"))
    first = contents_of_files(found, kept)
    kept.path.write_bytes(b"damaged" * 1000)
    assert (contents_of_files(found, kept) == first).all()
    assert (contents_of_files(found, open_digests(Store(found[0]))) == first).all()  # the store is a file
    assert set(reads.values()) == {3}


def test_digests_computed_before_a_failure_are_kept(
    tmp_path: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, kept = files(tmp_path / "a"), open_digests(Store(tmp_path / "store"))

    def interrupt(path: Path) -> bytes:
        if path.name == "4.png":
            raise KeyboardInterrupt
        return hash_of(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(contents, "hash_of", interrupt)
        contents_of_files(found, kept)
    contents_of_files(found, kept)
    assert reads == {"a/4.png": 1}


def test_files_are_hashed_in_blocks_and_each_block_is_kept(
    tmp_path: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, kept = files(tmp_path / "a"), open_digests(Store(tmp_path / "store"))
    monkeypatch.setattr(contents, "BLOCK_FILES", 2)
    written = list[int]()
    write = Digests.write

    def recording(digests: Digests, new: Mapping[Stamp, bytes]) -> None:
        written.append(len(new))
        write(digests, new)

    monkeypatch.setattr(Digests, "write", recording)
    assert contents_of_files(found, kept).tolist() == [word(file.read_bytes()) for file in found]
    assert written == [2, 2, 1] and set(reads.values()) == {1}


def test_the_digest_follows_names_classes_and_contents(tmp_path: Path) -> None:
    context = Context(Store(tmp_path / "store"))
    data = str(tree(tmp_path / "pets", per_class=20))
    cuts = [Cut(seed=seed, validation=share) for seed, share in ((0, 0.0), (0, 0.2), (1, 0.2))]
    digests = [open_split(data, "train", context, cut).digest() for cut in cuts]
    assert len(set(digests)) == 3
    assert [open_split(data, "train", context, cut).digest() for cut in cuts] == digests
    train = open_split(data, "train", context, cuts[1])
    by_name = {train.name(i): word for i, word in enumerate(train.contents().tolist())}
    assert by_name == {name: word((tmp_path / "pets" / name).read_bytes()) for name in by_name}


def test_a_run_reads_no_file_twice_to_hash_it(
    tmp_path: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in tree(tmp_path / "pets", per_class=10).rglob("*.png"):
        grow_old(file)
    options = ["--epochs", "1", "--validation", "0.2", "--precision", "fp32", "--device", "cpu"]
    assert main(["train", "mnist-lenet", "--data", "pets", "--out", "run", *options]) == 0
    assert len(reads) == 20 and set(reads.values()) == {1}
    reads.clear()
    assert main(["evaluate", "run"]) == 0 and not reads
    train = open_split("pets", "train", open_context(), Cut(validation=0.2))
    known = load_network_classifier("run").trained_on
    assert known is not None and known.tolist() == sorted(train.contents().tolist()) and len(known) == 12
