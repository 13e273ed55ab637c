"""Data sets that lie in memory as one array."""
# Tested in tests/data/sets/test_mnist.py

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from imclass.core.contracts import Image, Origin
from imclass.core.targets import Targets
from imclass.data.contents import contents_of_array, digest_of
from imclass.data.names import ids_of


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """One split whose images are all of one size; a `Dataset`."""

    array: UInt8[np.ndarray, "N H W C"]
    targets: Targets
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: str
    origin: Origin

    @cached_property
    def ids(self) -> Int64[np.ndarray, "N"]:
        """The id of each image: the hash of its name."""
        return ids_of([self.name(i) for i in range(len(self))])

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, i: int) -> Image:
        return self.array[i]

    def name(self, i: int) -> str:
        """ "train/00042": the split and the position in it."""
        return f"{self.split}/{i:05d}"

    @cached_property
    def hashes(self) -> UInt64[np.ndarray, "N"]:
        """64 bits for the pixels of each image."""
        return contents_of_array(self.array)

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return 64 bits for the pixels of each image, hashed when they are first asked for."""
        return self.hashes

    def digest(self) -> str:
        """Return the SHA-256 over names, classes and pixels."""
        return digest_of(self)
