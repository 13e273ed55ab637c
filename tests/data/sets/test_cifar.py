"""CIFAR-10 and CIFAR-100 in their four forms, made small by the tests, and the messages for files that are wrong."""

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.data.arrays import ArrayDataset
from imclass.data.catalog import dataset_table, open_split
from imclass.data.sets import cifar
from imclass.data.sets.cifar import CIFAR10, CIFAR100, DATASETS, IMAGE_BYTES, BatchFile, CifarSet
from imclass.data.source import DataLocation
from imclass.store import store as store_room
from imclass.store.context import Context
from imclass.store.store import Download, Store

SETS = {"cifar10": CIFAR10, "cifar100": CIFAR100}
FORMS = ["binary", "binary archive", "python", "python archive"]
SMALL = {10_000: 4, 50_000: 20}  # images in the small copy of a file
REAL = os.environ.get("IMCLASS_REAL_STORE", "")


def small(name: str) -> CifarSet:
    """Return a set that differs from the published one only in that its files have few images."""
    published = SETS[name]
    editions = [
        replace(e, batches={split: tuple(replace(b, count=SMALL[b.count], md5="") for b in batches)
                            for split, batches in e.batches.items()})
        for e in published.editions
    ]  # fmt: skip
    return replace(published, editions=tuple(editions))


def images_of(batch: BatchFile, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of 3,072 pixel bytes, and labels. They depend only on the file's name without its suffix."""
    rng = np.random.default_rng(list(batch.name.removesuffix(".bin").encode()))
    return rng.integers(0, 256, (batch.count, IMAGE_BYTES), np.uint8), rng.integers(0, classes, batch.count)


def files(name: str, edition: int) -> dict[str, bytes]:
    """Return the files of a small edition by name. Edition 0 is the binary one."""
    published = small(name)
    kind, classes = published.editions[edition], published.classes
    made = {}
    for batch in [batch for batches in kind.batches.values() for batch in batches]:
        pixels, labels = images_of(batch, len(classes))
        if edition == 0:
            front = [bytes([label]) if name == "cifar10" else bytes([label % 20, label]) for label in labels.tolist()]
            made[batch.name] = b"".join(a + row.tobytes() for a, row in zip(front, pixels, strict=True))
        else:
            key = b"labels" if name == "cifar10" else b"fine_labels"
            made[batch.name] = pickle.dumps({b"data": pixels, key: labels.tolist(), b"coarse_labels": [1]}, 2)
    if name == "cifar100":
        text = "".join(f"{line}\n" for line in classes) + "\n"
        names = {b"fine_label_names": [line.encode() for line in classes]}
        made[kind.names] = text.encode() if edition == 0 else pickle.dumps(names, 2)
    return made


def tar(content: dict[str, bytes], *extra: tarfile.TarInfo, level: int = 1) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=level) as archive:
        for info in extra:
            archive.addfile(info)
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def put(store: Path, name: str, form: str = "binary") -> Path:
    """Put a small set into the store in one of its forms. Return its folder or its archive."""
    number = FORMS.index(form) // 2
    edition = SETS[name].editions[number]
    home = store / name
    home.mkdir(parents=True, exist_ok=True)
    if form.endswith("archive"):
        packed = tar({f"{edition.folder}/{file}": content for file, content in files(name, number).items()})
        (home / edition.archive).write_bytes(packed)
        return home / edition.archive
    (home / edition.folder).mkdir()
    for file, content in files(name, number).items():
        (home / edition.folder / file).write_bytes(content)
    return home / edition.folder


def place(tmp_path: Path) -> DataLocation:
    return DataLocation(Store(tmp_path / "store", offline=True))


def open_small(tmp_path: Path, name: str, split: str = "train") -> ArrayDataset:
    return small(name).open_split(place(tmp_path).store, split)


def refusal(tmp_path: Path, name: str, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        open_small(tmp_path, name, split)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SETS)
def test_every_form_gives_the_same_images(tmp_path: Path, name: str, form: str) -> None:
    put(tmp_path / "store", name, form)
    for split in ("train", "test"):
        data = open_small(tmp_path, name, split)
        assert isinstance(data, Dataset)
        batches = small(name).editions[0].batches[split]
        pairs = [images_of(batch, len(data.classes)) for batch in batches]
        rows, labels = np.concatenate([p for p, _ in pairs]), np.concatenate([n for _, n in pairs])
        assert data.array.shape == (len(rows), 32, 32, 3) and data.array.flags.c_contiguous
        for i, (y, x, c) in enumerate(np.random.default_rng(0).integers(0, (32, 32, 3), (len(rows), 3)).tolist()):
            assert data[i][y, x, c] == rows[i][c * 1024 + y * 32 + x]  # planes, each row by row
        assert (data.array.reshape(-1, 1024, 3) == rows.reshape(-1, 3, 1024).transpose(0, 2, 1)).all()
        assert data.targets.numpy().tolist() == labels.tolist()
        assert len(set(data.ids)) == len(rows)
        assert data.classes == SETS[name].classes and data.splits == ("train", "test") and data.split == split
        assert data.origin.rule == "published" and data.origin.notes == ()


@pytest.mark.parametrize("name", SETS)
def test_the_form_does_not_change_the_digest(tmp_path: Path, name: str) -> None:
    digests = set()
    for form in FORMS:
        put(tmp_path / form / "store", name, form)
        digests.add((open_small(tmp_path / form, name).digest(), open_small(tmp_path / form, name, "test").digest()))
    assert len(digests) == 1


def test_the_published_sizes_and_names() -> None:
    assert {"cifar10", "cifar100"} <= set(dataset_table().entries) and set(DATASETS) == set(SETS)
    assert CIFAR10.classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    )  # fmt: skip
    assert len(CIFAR100.classes) == 100 and list(CIFAR100.classes) == sorted(set(CIFAR100.classes))
    assert (CIFAR100.classes[0], CIFAR100.classes[19], CIFAR100.classes[99]) == ("apple", "cattle", "worm")
    for published in SETS.values():
        for edition in published.editions:
            totals = {split: sum(b.count for b in batches) for split, batches in edition.batches.items()}
            assert totals == {"train": 50_000, "test": 10_000}
        assert published.download.url.endswith(published.editions[0].archive)
        assert published.download.path == f"{published.name}/{published.editions[0].archive}"
    assert CIFAR10.editions[0].form.max_bytes(10_000) == 30_730_000


def test_opened_by_name_files_must_have_the_published_size(tmp_path: Path) -> None:
    folder = put(tmp_path / "store", "cifar10")
    context = Context(Store(tmp_path / "store", offline=True))
    with pytest.raises(UserError, match=r"test_batch\.bin has 12,292 bytes, fewer than the expected 30,730,000"):
        open_split("cifar10", "test", context)
    (folder / "test_batch.bin").write_bytes(bytes(30_730_000))
    data = open_split("cifar10", "test", context)
    assert len(data) == len(set(data.ids)) == 10_000
    (note,) = data.origin.notes
    assert note.startswith("test_batch.bin is not the published file") and "803d5f7f4d78ea53de84dbe85f74fb6d" in note


def test_a_changed_file_is_used_and_noted(tmp_path: Path) -> None:
    put(tmp_path / "store", "cifar10")
    published = small("cifar10")
    edition = published.editions[0]
    right = hashlib.md5(files("cifar10", 0)["test_batch.bin"]).hexdigest()
    for md5, notes in ((right, 0), ("0" * 32, 1), ("", 0)):
        batches = {**edition.batches, "test": (replace(edition.batches["test"][0], md5=md5),)}
        other = replace(published, editions=(replace(edition, batches=batches),))
        assert len(other.open(place(tmp_path))["test"].origin.notes) == notes


class TestOrder:
    def test_folders_come_before_archives_and_binary_before_python(self, tmp_path: Path) -> None:
        published, store = small("cifar10"), place(tmp_path).store
        home = tmp_path / "store" / "cifar10"
        put(tmp_path / "store", "cifar10", "python archive")
        assert published.locate(store) == (published.editions[1], home / "cifar-10-batches-py")
        put(tmp_path / "store", "cifar10", "binary archive")
        assert not (home / "cifar-10-batches-bin").exists()
        assert published.locate(store) == (published.editions[0], home / "cifar-10-batches-bin")
        (home / "cifar-10-binary.tar.gz").unlink()
        assert published.locate(store) == (published.editions[0], home / "cifar-10-batches-bin")

    def test_an_archive_is_unpacked_once(self, tmp_path: Path) -> None:
        archive = put(tmp_path / "store", "cifar10", "binary archive")
        before = archive.read_bytes()
        open_small(tmp_path, "cifar10")
        assert archive.read_bytes() == before
        assert sorted(p.name for p in archive.parent.iterdir()) == ["cifar-10-batches-bin", archive.name]
        archive.write_bytes(b"no longer an archive")
        assert len(open_small(tmp_path, "cifar10", "test")) == 4

    def test_another_process_may_unpack_it_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "store", "cifar10", "binary archive")
        extract = cifar.extract

        def extract_twice(*arguments: Any) -> list[Path]:
            extract(*arguments)
            return extract(*arguments)

        monkeypatch.setattr(cifar, "extract", extract_twice)
        assert len(open_small(tmp_path, "cifar10", "test")) == 4

    def test_get_does_not_download_a_set_that_is_in_the_store(self, tmp_path: Path) -> None:
        put(tmp_path / "store", "cifar100", "binary archive")
        small("cifar100").get(place(tmp_path))
        assert (tmp_path / "store" / "cifar100" / "cifar-100-binary" / "train.bin").exists()


class TestMissing:
    @pytest.mark.parametrize("name", SETS)
    def test_the_message_names_files_and_where_to_put_them(self, tmp_path: Path, name: str) -> None:
        message = refusal(tmp_path, name)
        published, home = SETS[name], tmp_path / "store" / name
        for edition in published.editions:
            assert str(home / edition.folder) in message
        assert str(home / published.editions[0].archive) in message
        assert published.download.url in message and published.download.sha256 in message
        assert not (tmp_path / "store").exists()

    @pytest.mark.parametrize("form", ["binary", "python"])
    def test_a_missing_file_is_named(self, tmp_path: Path, form: str) -> None:
        folder = put(tmp_path / "store", "cifar10", form)
        third = next(folder.glob("data_batch_3*"))
        third.unlink()
        assert f"{third} is missing" in refusal(tmp_path, "cifar10")
        assert len(open_small(tmp_path, "cifar10", "test")) == 4  # which needs other files
        third.mkdir()
        assert f"{third} is missing" in refusal(tmp_path, "cifar10")

    def test_a_file_instead_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "store" / "cifar10").mkdir(parents=True)
        (tmp_path / "store" / "cifar10" / "cifar-10-batches-bin").write_bytes(b"")
        assert "is missing" in refusal(tmp_path, "cifar10")

    def test_it_is_downloaded_and_verified(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = put(tmp_path / "elsewhere", "cifar10", "binary archive").read_bytes()
        asked = []

        def fetch(download: Download, target: Path, *_: Any) -> None:
            asked.append(download.url)
            target.parent.mkdir(parents=True)
            target.write_bytes(archive)

        monkeypatch.setattr(store_room, "fetch", fetch)
        online = DataLocation(Store(tmp_path / "store"))
        with pytest.raises(UserError, match="SHA-256"):  # these bytes are not the published ones
            small("cifar10").get(online)
        assert not (tmp_path / "store" / "cifar10" / "cifar-10-batches-bin").exists()
        (tmp_path / "store" / "cifar10" / "cifar-10-binary.tar.gz").unlink()
        (tmp_path / "store" / "cifar10").rmdir()
        mine = replace(CIFAR10.download, sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
        published = replace(small("cifar10"), download=mine)
        published.get(online)
        assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"] * 2
        assert len(published.open(online)["train"]) == 20 and len(asked) == 2


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda c: c[:-1], "12,291 bytes, fewer than the expected 12,292"),
            (lambda c: c + b"\0", "more than the expected 12,292"),
        ],
    )
    def test_a_binary_file_of_another_size_is_refused(
        self, tmp_path: Path, change: Callable[[bytes], bytes], words: str
    ) -> None:
        file = put(tmp_path / "store", "cifar10") / "test_batch.bin"
        file.write_bytes(change(file.read_bytes()))
        message = refusal(tmp_path, "cifar10", "test")
        assert words in message and str(file) in message

    def test_a_file_of_cifar_10_among_those_of_cifar_100_is_refused(self, tmp_path: Path) -> None:
        file = put(tmp_path / "store", "cifar100") / "test.bin"
        file.write_bytes(files("cifar10", 0)["test_batch.bin"])
        assert "fewer than the expected 12,296" in refusal(tmp_path, "cifar100", "test")

    @pytest.mark.parametrize(("name", "at"), [("cifar10", 0), ("cifar100", 1)])
    def test_a_label_without_a_class_is_refused(self, tmp_path: Path, name: str, at: int) -> None:
        folder = put(tmp_path / "store", name)
        file = next(folder.glob("test*.bin"))
        content = bytearray(file.read_bytes())
        content[2 * (IMAGE_BYTES + 1 + at) + at] = len(SETS[name].classes)
        file.write_bytes(content)
        message = refusal(tmp_path, name, "test")
        assert f"{file}: image 2 has the label {len(SETS[name].classes)}" in message

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({b"data": None}, "has no 'data' of 4 x 3,072 bytes"),
            ({b"data": np.zeros((5, IMAGE_BYTES), np.uint8)}, "has no 'data' of 4 x 3,072"),
            ({b"data": np.zeros((4, 32, 32, 3), np.uint8)}, "has no 'data' of 4 x 3,072"),
            ({b"data": np.zeros((4, IMAGE_BYTES), np.float32)}, "a type other than unsigned bytes"),
            ({b"labels": [1, 2, 3]}, "has no 'labels' of 4 numbers"),
            ({b"labels": [1, 2, 3, -1]}, "has no 'labels' of 4 numbers"),
            ({b"labels": [1, 2, 3, 256]}, "has no 'labels' of 4 numbers"),
            ({b"labels": [1, 2, 3, 2.0]}, "has no 'labels' of 4 numbers"),
            ({b"labels": [1, 2, 3, True]}, "has no 'labels' of 4 numbers"),
            ({b"labels": [1, 2, 3, 9 ** 999_9]}, "has no 'labels' of 4 numbers"),
            ({b"labels": [1, 2, 3, 10]}, "image 3 has the label 10, but the classes are 0 to 9"),
            ({b"labels": np.arange(4, dtype=np.uint8)}, "has no 'labels' of 4 numbers"),
        ],
    )  # fmt: skip
    def test_a_pickle_of_other_data_is_refused(self, tmp_path: Path, change: dict[bytes, Any], words: str) -> None:
        file = put(tmp_path / "store", "cifar10", "python") / "test_batch"
        whole = {b"data": np.zeros((4, IMAGE_BYTES), np.uint8), b"labels": [1, 2, 3, 4]}
        file.write_bytes(pickle.dumps(whole, 2))
        assert open_small(tmp_path, "cifar10", "test").targets.numpy().tolist() == [1, 2, 3, 4]
        file.write_bytes(pickle.dumps(whole | change, 2))
        message = refusal(tmp_path, "cifar10", "test")
        assert words in message and str(file) in message

    def test_a_malicious_pickle_is_refused(self, tmp_path: Path) -> None:
        file = put(tmp_path / "store", "cifar100", "python") / "meta"
        file.write_bytes(f"cos\nmkdir\n(S'{tmp_path / 'evil'}'\ntR.".encode())
        message = refusal(tmp_path, "cifar100")
        assert str(file) in message and "os.mkdir" in message and not (tmp_path / "evil").exists()

    def test_a_pickle_that_is_too_large_is_not_read(self, tmp_path: Path) -> None:
        file = put(tmp_path / "store", "cifar10", "python") / "test_batch"
        os.truncate(file, 1 << 40)
        assert "has 1,099,511,627,776 bytes, more than" in refusal(tmp_path, "cifar10", "test")

    def test_an_unreadable_file_is_not_called_damaged(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        put(tmp_path / "store", "cifar10")
        monkeypatch.setattr(Path, "read_bytes", refuse)
        assert "cannot be read (Permission denied)" in refusal(tmp_path, "cifar10")


class TestNames:
    @pytest.mark.parametrize("form", ["binary", "python"])
    def test_without_their_file_the_published_names_are_used(self, tmp_path: Path, form: str) -> None:
        folder = put(tmp_path / "store", "cifar100", form)
        (folder / ("meta" if form == "python" else "fine_label_names.txt")).unlink()
        assert open_small(tmp_path, "cifar100").classes == CIFAR100.classes

    @pytest.mark.parametrize("form", ["binary", "python"])
    def test_other_names_are_used_and_noted(self, tmp_path: Path, form: str) -> None:
        folder = put(tmp_path / "store", "cifar100", form)
        names = ["Apfel", *CIFAR100.classes[1:]]
        file = folder / ("meta" if form == "python" else "fine_label_names.txt")
        file.write_bytes(
            pickle.dumps({"fine_label_names": names}, 2) if form == "python" else "\r\n".join(names).encode()
        )
        data = open_small(tmp_path, "cifar100")
        assert data.classes == tuple(names)
        assert data.origin.notes == (f"{file.name} lists classes other than the published ones",)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"apple\npear\n", "lists 2 classes, but cifar100 has 100"),
            (b"", "lists 0 classes"),
            (b"a\n" * 100, "class 'a' occurs twice"),
            (b"\xff\xfe\n" * 100, "names that are not UTF-8 text"),
            (b"a" * (1 << 20) + b"\n", "more than the expected 1,048,576"),
        ],
    )
    def test_a_file_without_names_is_refused(self, tmp_path: Path, content: bytes, words: str) -> None:
        file = put(tmp_path / "store", "cifar100") / "fine_label_names.txt"
        file.write_bytes(content)
        message = refusal(tmp_path, "cifar100")
        assert words in message and str(file) in message

    @pytest.mark.parametrize("names", [None, "abc", [1, 2], {"a": "b"}])
    def test_a_pickle_without_names_is_refused(self, tmp_path: Path, names: Any) -> None:
        file = put(tmp_path / "store", "cifar100", "python") / "meta"
        file.write_bytes(pickle.dumps({"fine_label_names": names}, 2))
        assert f"{file} has no 'fine_label_names' list" in refusal(tmp_path, "cifar100")


def odd(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


ATTACKS = {
    "a symbolic link": (odd("cifar-10-batches-bin", tarfile.SYMTYPE, "../.."), "is a symbolic link"),
    "a hard link": (odd("cifar-10-batches-bin/x", tarfile.LNKTYPE, "/etc/passwd"), "is a hard link"),
    "two dots": (odd("cifar-10-batches-bin/../../../evil"), "leads out of its folder"),
    "an absolute path": (odd("/evil"), "is not a relative path"),
    "a device": (odd("cifar-10-batches-bin/data_batch_1.bin", tarfile.CHRTYPE), "is a character device"),
    "a duplicate": (odd("cifar-10-batches-bin/DATA_batch_1.bin"), "would overwrite"),
}


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


class TestAttacks:
    @pytest.mark.parametrize("kind", ATTACKS)
    def test_a_malicious_archive_writes_nothing(self, tmp_path: Path, kind: str) -> None:
        info, words = ATTACKS[kind]
        archive = put(tmp_path / "store", "cifar10", "binary archive")
        inside = {f"cifar-10-batches-bin/{name}": content for name, content in files("cifar10", 0).items()}
        archive.write_bytes(tar(inside, info))
        before = everything(tmp_path)
        message = refusal(tmp_path, "cifar10")
        assert words in message and str(archive) in message and "nothing was unpacked" in message
        assert everything(tmp_path) == before
        archive.write_bytes(tar(inside))  # the twin
        assert len(open_small(tmp_path, "cifar10")) == 20

    def test_unpacking_a_bomb_stops_early(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = put(tmp_path / "store", "cifar10", "binary archive")
        archive.write_bytes(tar({"cifar-10-batches-bin/zeros": bytes(24 << 20)}, level=9))
        before = everything(tmp_path)
        assert archive.stat().st_size < 1 << 17 and "unpacks to more than" in refusal(tmp_path, "cifar10")
        assert everything(tmp_path) == before
        put(tmp_path / "store", "cifar10", "binary archive")
        monkeypatch.setattr(cifar, "MAX_UNPACKED_BYTES", 50_000)
        assert "unpacks to more than 50,000 bytes" in refusal(tmp_path, "cifar10")
        monkeypatch.setattr(cifar, "MAX_UNPACKED_BYTES", 1 << 20)
        assert len(open_small(tmp_path, "cifar10")) == 20

    def test_an_archive_of_other_files_is_refused(self, tmp_path: Path) -> None:
        archive = put(tmp_path / "store", "cifar10", "binary archive")
        archive.write_bytes(tar({"other/file": b"abc"}))
        assert f"{archive} does not contain the folder cifar-10-batches-bin" in refusal(tmp_path, "cifar10")

    def test_a_web_page_saved_as_the_archive_is_refused(self, tmp_path: Path) -> None:
        archive = put(tmp_path / "store", "cifar10", "binary archive")
        archive.write_bytes(gzip.compress(b"<html>not found</html>"))
        assert f"{archive} is damaged" in refusal(tmp_path, "cifar10")


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="IMCLASS_REAL_STORE is not set")
def test_the_real_cifar_10() -> None:
    place = DataLocation(Store(Path(REAL), offline=True))
    train, test = (CIFAR10.open_split(place.store, split) for split in ("train", "test"))
    assert (
        np.bincount(train.targets.numpy()).tolist() == [5_000] * 10
        and np.bincount(test.targets.numpy()).tolist() == [1_000] * 10
    )
    assert [train.classes[k] for k in train.targets.numpy()[:5]] == ["frog", "truck", "truck", "deer", "automobile"]
    mean = train.array.reshape(-1, 3).mean(axis=0) / 255
    assert np.abs(mean - [0.4914, 0.4822, 0.4465]).max() < 5e-5 + 1e-9
    assert train.origin.notes == test.origin.notes == ()
    assert len({*train.ids.tolist(), *test.ids.tolist()}) == 60_000
