"""MNIST (LeCun, Bottou, Bengio and Haffner 1998) and Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): IDX files.

An IDX file consists of two zero bytes, a byte for the type (8: unsigned bytes), a byte for the number of axes, the
length of each axis as a big-endian 32-bit number, and the values. Files may be gzipped. Files in the store are not
compared with the published ones, so that other data sets in this layout can be used. A downloaded file must be the
published one.
"""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.source import DataLocation, DatasetEntry, LazySplits
from imclass.store.store import Download, Store

MAX_IDX_BYTES = 1 << 31  # unpacked
MNIST_SPLITS = ("train", "test")
FILE_PREFIXES = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class MnistSet:
    """A data set of four IDX files, which are in the store or can be downloaded."""

    name: str
    classes: tuple[str, ...]
    url: str  # of the folder with the gzipped files
    licence: str
    files: Mapping[str, tuple[int, str]]  # the size in bytes and the SHA-256 of each gzipped file, keyed by stem

    def path(self, store: Store, stem: str) -> Path:
        """Return the path of a file in the store, which may be gzipped. If the file is missing, download it."""
        size, sha256 = self.files[stem]
        found = store.find(f"{self.name}/{stem}", f"{self.name}/{stem}.gz")
        return found or store.get(Download(f"{self.name}/{stem}.gz", f"{self.url}{stem}.gz", sha256, size))

    def get(self, location: DataLocation) -> None:
        """Download the files that are not in the store."""
        for stem in self.files:
            self.path(location.store, stem)

    def open(self, location: DataLocation) -> LazySplits:
        """Return the splits. Each is read into memory when it is first used."""
        return LazySplits(MNIST_SPLITS, partial(self.open_split, location.store))

    def open_split(self, store: Store, split: str) -> ArrayDataset:
        """Return one split, read into memory."""
        images = self.path(store, f"{FILE_PREFIXES[split]}-images-idx3-ubyte")
        labels = self.path(store, f"{FILE_PREFIXES[split]}-labels-idx1-ubyte")
        origin = Origin(self.name, str(store.folder / self.name), "published", self.licence)
        return read_split(images, labels, self.classes, split, origin)


def read_split(images: Path, labels: Path, classes: tuple[str, ...], split: str, origin: Origin) -> ArrayDataset:
    """Read a split from its two files. If a file does not fit the data set, raise a `UserError` that names the file."""
    array, numbers = read_idx(images), read_idx(labels)
    if array.ndim != 3 or not array.size:
        raise UserError(
            f"{images} contains an array of shape {array.shape}, not images; replace it with the data set's file"
        )
    if numbers.ndim != 1:
        raise UserError(
            f"{labels} contains an array of shape {numbers.shape}, not labels; replace it with the data set's file"
        )
    if len(array) != len(numbers):
        raise UserError(
            f"{images} has {len(array):,} images and {labels} has {len(numbers):,} labels; use files from one data set"
        )
    if numbers.max() >= len(classes):
        raise UserError(
            f"{labels} has the label {numbers.max()}, but {origin.name} has classes 0 to {len(classes) - 1}; "
            "replace it with the data set's file"
        )
    return ArrayDataset(array[..., None], OneOf(numbers.astype(np.int64)), classes, MNIST_SPLITS, split, origin)


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """Read the array of bytes in an IDX file, which may be gzipped. Raise `UserError` for anything else."""
    if not path.is_file():
        raise UserError(f"{path} is not a file; replace it with an IDX file")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return read_values(gzip.GzipFile(fileobj=file) if packed else file, path)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); download the file again") from None


def read_values(file: io.BufferedIOBase, path: Path) -> UInt8[np.ndarray, "..."]:
    """Read the array in an unpacked IDX stream. Memory use is bounded by the size that the header declares."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[3] == 0:
        raise UserError(f"{path} is not an IDX file: it begins with {head.hex() or 'nothing'}; download the file again")
    if head[2] != 0x08:
        raise UserError(f"{path} contains values of IDX type 0x{head[2]:02x}; only unsigned bytes (0x08) are read")
    lengths = file.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise UserError(f"{path} is truncated in its header; download the file again")
    shape = struct.unpack(f">{head[3]}I", lengths)
    size = math.prod(shape)
    if size > MAX_IDX_BYTES:
        raise UserError(f"{path} declares {size:,} bytes, but at most {MAX_IDX_BYTES:,} are read")
    content = bytearray(file.read(size + 1))
    if len(content) != size:
        count = f"more than {size:,}" if len(content) > size else f"{len(content):,}"
        raise UserError(
            f"{path} declares {' x '.join(map(str, shape))} values but contains {count}; download the file again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


MNIST = MnistSet(
    name="mnist",
    classes=tuple("0123456789"),
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    licence="CC BY-SA 3.0",
    files={
        "train-images-idx3-ubyte": (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        "train-labels-idx1-ubyte": (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        "t10k-images-idx3-ubyte": (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        "t10k-labels-idx1-ubyte": (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    },
)
FASHION_MNIST = MnistSet(
    name="fashion-mnist",
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    url="https://github.com/zalandoresearch/fashion-mnist/raw/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
    licence="MIT",
    files={
        "train-images-idx3-ubyte": (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        "train-labels-idx1-ubyte": (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        "t10k-images-idx3-ubyte": (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        "t10k-labels-idx1-ubyte": (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    },
)  # fmt: skip

DATASETS = {
    MNIST.name: DatasetEntry(
        MNIST.open, "handwritten digits, 28 x 28 grey, 60,000 + 10,000", MNIST_SPLITS, MNIST.licence, MNIST.get
    ),
    FASHION_MNIST.name: DatasetEntry(
        FASHION_MNIST.open,
        "clothes, 28 x 28 grey, 60,000 + 10,000",
        MNIST_SPLITS,
        FASHION_MNIST.licence,
        FASHION_MNIST.get,
    ),
}
