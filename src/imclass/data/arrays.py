"""Data sets that lie in memory as one array."""
# Tested in tests/data/sets/test_mnist.py

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt8

from imclass.core.contracts import Image, Origin
from imclass.core.targets import OneOf
from imclass.data.names import ids_of


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """One split whose images are all of one size; a `Dataset`."""

    array: UInt8[np.ndarray, "N H W C"]
    targets: OneOf
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: str
    origin: Origin

    @cached_property
    def ids(self) -> Int64[np.ndarray, "N"]:
        """Return the hash of each name."""
        return ids_of([self.name(i) for i in range(len(self))])

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, i: int) -> Image:
        return self.array[i]

    def name(self, i: int) -> str:
        """ "train/00042": the split and the position in it."""
        return f"{self.split}/{i:05d}"

    def digest(self) -> str:
        """SHA-256 over split, classes, sizes, labels and pixels, in the order of the positions, which are the names."""
        head = json.dumps([self.split, self.classes, self.array.shape])
        total = hashlib.sha256(head.encode())
        total.update(np.ascontiguousarray(self.targets.numpy(), "<i8").data)
        total.update(np.ascontiguousarray(self.array).data)
        return total.hexdigest()
