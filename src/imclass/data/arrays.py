"""A data set kept in memory as one array."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from imclass.core.contracts import Image, Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf, Targets
from imclass.data.contents import contents_of_array, digest_of
from imclass.data.names import ids_of


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """An implementation of `Dataset` for one split whose images all have the same size."""

    array: UInt8[np.ndarray, "N H W C"]
    targets: Targets
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: str
    origin: Origin

    def __post_init__(self) -> None:
        check_arrays(self.array, self.targets, self.classes)

    @cached_property
    def ids(self) -> Int64[np.ndarray, "N"]:
        """The id of each image: a hash of its name."""
        return ids_of([self.name(i) for i in range(len(self))])

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, i: int) -> Image:
        return self.array[i]

    def name(self, i: int) -> str:
        """Return the name of an image, which consists of its split and its position: "train/00042"."""
        return f"{self.split}/{i:05d}"

    @cached_property
    def hashes(self) -> UInt64[np.ndarray, "N"]:
        """The first 64 bits of the SHA-256 of each image's pixels."""
        return contents_of_array(self.array)

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return the first 64 bits of the SHA-256 of each image's pixels. They are computed on the first call."""
        return self.hashes

    def digest(self) -> str:
        """Return the SHA-256 of all names, classes and pixels."""
        return digest_of(self)


def check_arrays(array: Any, targets: Targets, classes: Sequence[str]) -> None:
    """Raise `UserError` unless `array` contains uint8 images and each of them has a valid target."""
    if not isinstance(array, np.ndarray):
        raise UserError(f"the array has the type {type(array).__name__}; give a NumPy array")
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        shape = " x ".join(map(str, array.shape))
        raise UserError(
            f"the array has the shape {shape} and the type {array.dtype}; it must have the shape "
            "N x height x width x channels, with 1 or 3 channels, and the type uint8"
        )
    if len(targets) != len(array):
        raise UserError(f"there are {len(array):,} images and {len(targets):,} targets; give one target for each image")
    k = len(classes)
    values = targets.numpy()
    if isinstance(targets, OneOf):
        wrong = values[(values < 0) | (values >= k)]
        if wrong.size:
            raise UserError(f"label {wrong[0]} is out of range for {k} classes; labels must be between 0 and {k - 1}")
    elif values.shape[1] != k:
        raise UserError(f"the targets have {values.shape[1]} columns for {k} classes; give one column for each class")
