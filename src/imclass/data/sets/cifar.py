"""CIFAR-10 and CIFAR-100: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

Both come in a binary edition (records of label bytes and 3 x 32 x 32 pixel bytes) and a Python edition (pickles). Files
in the store are preferred to a download, the binary edition to the Python one, and an unpacked folder to its archive.
An archive is unpacked once, into the folder that contains it. Files that differ from the published ones are used, but a
note reports the difference.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from imclass.core.classes import check_classes
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.source import DataLocation, DatasetEntry, LazySplits
from imclass.data.unpickle import unpickle
from imclass.store.archives import extract
from imclass.store.store import Download, Store

IMAGE_BYTES = 3 * 32 * 32
CIFAR_SPLITS = ("train", "test")
LICENCE = "none stated"
# The home page lists MD5s. The sizes and SHA-256 digests below are recorded in several projects.
HOME_URL = "https://www.cs.toronto.edu/~kriz/"
MAX_UNPACKED_BYTES = 1 << 28  # the editions unpack to 180 to 190 MB
MAX_FILES = 64  # in an archive
MAX_NAMES_BYTES = 1 << 20  # of a file of class names

Records = tuple[UInt8[np.ndarray, "N P"], UInt8[np.ndarray, "N"]]  # P = 3,072 pixel bytes and the label of each image


@dataclass(frozen=True)
class BatchFile:
    """A file that contains images of one split."""

    name: str
    count: int  # images
    md5: str = ""  # of the published file, if more than one source states it


@dataclass(frozen=True)
class BinaryForm:
    """The binary format. Each record has label bytes (the last is the class) and red, green and blue planes."""

    label_bytes: int

    def max_bytes(self, count: int) -> int:
        """Return the exact size of a file with `count` images."""
        return count * (self.label_bytes + IMAGE_BYTES)

    def read(self, content: bytes, path: Path, count: int) -> Records:
        """Return the records of a file. Raise `UserError` unless the file has exactly the size of `count` records."""
        size, expected = len(content), self.max_bytes(count)
        if size != expected:
            raise UserError(
                f"{path} has {size:,} bytes, fewer than the expected {expected:,}; replace it with the published file"
            )
        records = np.frombuffer(content, np.uint8).reshape(count, -1)
        return records[:, self.label_bytes :], records[:, self.label_bytes - 1]

    def names(self, content: bytes, path: Path) -> list[str]:
        """Return the class names, one per line of the file."""
        return [name.strip() for name in decode_text(content, path).splitlines() if name.strip()]


@dataclass(frozen=True)
class PickledForm:
    """The pickle format: a list of labels, and `data` with one row of red, green and blue planes per image."""

    labels: str  # key of the labels
    label_names: str  # key of the class names, in the file that contains them

    def max_bytes(self, count: int) -> int:
        """Return the largest size of a file with `count` images. In a text pickle, a byte may take up four."""
        return 4 * count * IMAGE_BYTES + (1 << 20)

    def read(self, content: bytes, path: Path, count: int) -> Records:
        """Return the records of a file. Raise `UserError` unless the file has exactly `count` records."""
        entries = unpickle(content, path)
        pixels, labels = entries.get("data"), entries.get(self.labels)
        if not (isinstance(pixels, np.ndarray) and pixels.shape == (count, IMAGE_BYTES)):
            raise UserError(
                f"{path} has no 'data' of {count:,} x {IMAGE_BYTES:,} bytes; replace it with the published file"
            )
        if not (isinstance(labels, list) and len(labels) == count and all(map(is_byte, labels))):
            raise UserError(f"{path} has no {self.labels!r} of {count:,} numbers; replace it with the published file")
        return pixels, np.array(labels, np.uint8)

    def names(self, content: bytes, path: Path) -> list[str]:
        """Return the class names. Raise `UserError` if the file does not contain them."""
        names = unpickle(content, path).get(self.label_names)
        if not (isinstance(names, list) and all(isinstance(name, str | bytes) for name in names)):
            raise UserError(f"{path} has no {self.label_names!r} list; replace it with the published file")
        return [name if isinstance(name, str) else decode_text(name, path) for name in names]


@dataclass(frozen=True)
class Edition:
    """A published form of a data set, with its folder in the store and the archive that contains this folder."""

    folder: str
    archive: str
    form: BinaryForm | PickledForm
    batches: Mapping[str, tuple[BatchFile, ...]]  # keyed by split
    names: str = ""  # the file with the class names; "" if they are not read


@dataclass(frozen=True)
class CifarSet:
    """A data set with its editions, the preferred one first. `download` is the archive of the first edition."""

    name: str
    classes: tuple[str, ...]
    editions: tuple[Edition, ...]
    download: Download

    def get(self, location: DataLocation) -> None:
        """Download and unpack the data set, unless it is in the store."""
        self.locate(location.store)

    def open(self, location: DataLocation) -> LazySplits:
        """Return the splits. Each is read into memory when it is first used."""
        return LazySplits(CIFAR_SPLITS, partial(self.open_split, location.store))

    def open_split(self, store: Store, split: str) -> ArrayDataset:
        """Return one split, read into memory."""
        edition, folder = self.locate(store)
        batches = edition.batches[split]
        total = sum(batch.count for batch in batches)
        classes, notes = self.read_classes(edition, folder)
        array = np.empty((total, 32, 32, 3), np.uint8)
        labels = np.empty(total, np.int64)
        start = 0
        for batch in batches:
            path = folder / batch.name
            content = read_whole(path, edition.form.max_bytes(batch.count))
            notes += difference_notes(batch, content)
            rows = slice(start, start + batch.count)
            pixels, labels[rows] = edition.form.read(content, path, batch.count)
            check_labels(labels[rows], path, len(classes))
            array[rows] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            start += batch.count
        origin = Origin(self.name, str(store.folder / self.name), "published", LICENCE, tuple(notes))
        return ArrayDataset(array, OneOf(labels), classes, CIFAR_SPLITS, split, origin)

    def locate(self, store: Store) -> tuple[Edition, Path]:
        """Return the first edition found in the store, and its folder. Unpack or download an archive if necessary."""
        for edition in self.editions:
            folder, archive = self.paths(store, edition)
            if folder.exists():
                return edition, folder
            if archive.exists():
                return edition, unpack_edition(archive, folder)
        try:
            archive = store.get(self.download)
        except UserError as error:
            folders = " or ".join(str(self.paths(store, edition)[0]) for edition in self.editions)
            raise UserError(f"{error}. Or put the files from an unpacked archive into {folders}") from None
        return self.editions[0], unpack_edition(archive, self.paths(store, self.editions[0])[0])

    def paths(self, store: Store, edition: Edition) -> tuple[Path, Path]:
        """Return the paths of an edition's folder and of its archive in the store."""
        return store.path_inside(f"{self.name}/{edition.folder}"), store.path_inside(f"{self.name}/{edition.archive}")

    def read_classes(self, edition: Edition, folder: Path) -> tuple[tuple[str, ...], list[str]]:
        """Return the class names, and a note if the edition's file lists names other than the published ones."""
        path = folder / edition.names
        if not edition.names or not path.exists():
            return self.classes, []
        names = tuple(edition.form.names(read_whole(path, MAX_NAMES_BYTES), path))
        if len(names) != len(self.classes):
            raise UserError(
                f"{path} lists {len(names):,} classes, but {self.name} has {len(self.classes)}; "
                "replace it with the published file"
            )
        check_classes(names, str(path))
        return names, [] if names == self.classes else [f"{edition.names} lists classes other than the published ones"]


def unpack_edition(archive: Path, folder: Path) -> Path:
    """Unpack an archive into the folder that contains it. Return the unpacked folder."""
    try:
        extract(archive, folder.parent, MAX_UNPACKED_BYTES, MAX_FILES)
    except UserError:
        # If the folder exists now, another process has just unpacked the same archive completely.
        if not folder.is_dir():
            raise
    if not folder.is_dir():
        raise UserError(f"{archive} does not contain the folder {folder.name}; replace it with the published archive")
    return folder


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Return all bytes of a file. Raise `UserError` if it is missing, unreadable or larger than `max_bytes`."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing; restore the file, or move {path.parent} out of the way to have it created again"
        )
    size = path.stat().st_size
    if size > max_bytes:
        raise UserError(
            f"{path} has {size:,} bytes, more than the expected {max_bytes:,}; replace it with the published file"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make the file readable") from None


def decode_text(content: bytes, path: Path) -> str:
    """Return the text of a file. Raise `UserError` if it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} contains names that are not UTF-8 text; replace it with the published file") from None


def is_byte(value: object) -> bool:
    """Return whether a value is an integer that fits in a byte."""
    return type(value) is int and 0 <= value < 256


def difference_notes(batch: BatchFile, content: bytes) -> list[str]:
    """Return a note if a file is not the published one."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if not batch.md5 or md5 == batch.md5:
        return []
    return [f"{batch.name} is not the published file: its MD5 is {md5} instead of {batch.md5}"]


def check_labels(labels: Int64[np.ndarray, "N"], path: Path, classes: int) -> None:
    """Raise `UserError` if a label is not the number of a class. The message names the first such label."""
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise UserError(
            f"{path}: image {wrong[0]:,} has the label {labels[wrong[0]]}, but the classes are 0 to {classes - 1}; "
            "replace it with the published file"
        )


def cifar10_batches(suffix: str, md5: tuple[str, ...]) -> dict[str, tuple[BatchFile, ...]]:
    """Return the six batch files of CIFAR-10, keyed by split. The last MD5 is that of the test file."""
    train = tuple(BatchFile(f"data_batch_{k + 1}{suffix}", 10_000, md5[k]) for k in range(5))
    return {"train": train, "test": (BatchFile(f"test_batch{suffix}", 10_000, md5[5]),)}


CIFAR10 = CifarSet(
    name="cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    editions=(
        Edition(
            folder="cifar-10-batches-bin",
            archive="cifar-10-binary.tar.gz",
            form=BinaryForm(label_bytes=1),
            batches=cifar10_batches(
                ".bin",
                (
                    "5dd7e06a14cb22eb9f671a540d1b7c25", "5ea93a67294ea407fff1d09f752e9692",
                    "942cd6a4bcdd0dd3c604fbe906cb4421", "ae636b3ba5c66a11e91e8cb52e771fcb",
                    "53f37980c15c3d472c316c40844f3f0d", "803d5f7f4d78ea53de84dbe85f74fb6d",
                ),
            ),
        ),
        Edition(
            folder="cifar-10-batches-py",
            archive="cifar-10-python.tar.gz",
            form=PickledForm("labels", "label_names"),
            batches=cifar10_batches(
                "",
                (
                    "c99cafc152244af753f735de768cd75f", "d4bba439e000b95fd0a9bffe97cbabec",
                    "54ebc095f3ab1f0389bbae665268c751", "634d18415352ddfa80567beed471001a",
                    "482c414d41f54cd18b22e5b47cb7c3cb", "40351d587109b95175f43aff81a1287e",
                ),
            ),
        ),
    ),
    download=Download(
        "cifar10/cifar-10-binary.tar.gz",
        f"{HOME_URL}cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        170_052_171,
    ),
)  # fmt: skip
CIFAR100 = CifarSet(
    name="cifar100",
    classes=(
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee",
        "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant",
        "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower",
        "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
        "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate",
        "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark",
        "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
        "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip",
        "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ),
    editions=(
        Edition(
            folder="cifar-100-binary",
            archive="cifar-100-binary.tar.gz",
            form=BinaryForm(label_bytes=2),  # the superclass, then the class
            batches={"train": (BatchFile("train.bin", 50_000),), "test": (BatchFile("test.bin", 10_000),)},
            names="fine_label_names.txt",
        ),
        Edition(
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
            form=PickledForm("fine_labels", "fine_label_names"),
            batches={
                "train": (BatchFile("train", 50_000, "16019d7e3df5f24257cddd939b257f8d"),),
                "test": (BatchFile("test", 10_000, "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
            },
            names="meta",
        ),
    ),
    download=Download(
        "cifar100/cifar-100-binary.tar.gz",
        f"{HOME_URL}cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        168_513_733,
    ),
)  # fmt: skip

DATASETS = {
    CIFAR10.name: DatasetEntry(
        CIFAR10.open,
        "photos of animals and vehicles, 32 x 32 colour, 50,000 + 10,000",
        CIFAR_SPLITS,
        LICENCE,
        CIFAR10.get,
    ),
    CIFAR100.name: DatasetEntry(
        CIFAR100.open,
        "photos of 100 kinds of things, 32 x 32 colour, 50,000 + 10,000",
        CIFAR_SPLITS,
        LICENCE,
        CIFAR100.get,
    ),
}
