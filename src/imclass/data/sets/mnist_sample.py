"""A part of MNIST that is included in the package, so that everything can be tried without a download."""
# Tested in tests/data/sets/test_mnist.py

from pathlib import Path

from imclass.core.contracts import Origin
from imclass.data.arrays import ArrayDataset
from imclass.data.sets.mnist import FILE_PREFIXES, MNIST, MNIST_SPLITS, read_split
from imclass.data.source import DataLocation, DatasetEntry, LazySplits

SAMPLE_FOLDER = Path(__file__).parents[1] / "samples" / "mnist"


def open_sample(location: DataLocation) -> LazySplits:
    """Return the splits. The location is ignored, because the files are in the package."""
    return LazySplits(MNIST_SPLITS, read_sample)


def read_sample(split: str) -> ArrayDataset:
    """Return one split, read into memory."""
    images = SAMPLE_FOLDER / f"{FILE_PREFIXES[split]}-images-idx3-ubyte.gz"
    labels = SAMPLE_FOLDER / f"{FILE_PREFIXES[split]}-labels-idx1-ubyte.gz"
    origin = Origin("mnist-sample", "mnist-sample", "published", MNIST.licence)
    return read_split(images, labels, MNIST.classes, split, origin)


DATASETS = {
    "mnist-sample": DatasetEntry(
        open_sample,
        "handwritten digits, 28 x 28 grey, 10,000 + 2,000 from MNIST, included in the package",
        MNIST_SPLITS,
        MNIST.licence,
    )
}
