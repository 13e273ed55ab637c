"""Rows of numbers that may be larger than the main memory: one row for each image."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

BLOCK_NUMBERS = 1 << 23  # numbers that are read at a time: 32 MiB in float32


@runtime_checkable
class RowMatrix(Protocol):
    """A matrix that is read in blocks of rows or columns, for example from a file.

    A block is a new array or a view of the matrix, so callers must not write to it.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of rows, which is also the length, and the number of columns."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice) -> Float[np.ndarray, "n D"]:
        """Return some of the rows."""
        ...

    def columns(self, low: int, high: int) -> Float[np.ndarray, "N d"]:
        """Return the columns from `low` to `high - 1` of all rows."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """The rows of an array in memory."""

    array: Float[np.ndarray, "N D"]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, chosen: slice) -> Float[np.ndarray, "n D"]:
        return self.array[chosen]

    def columns(self, low: int, high: int) -> Float[np.ndarray, "N d"]:
        """Return the columns from `low` to `high - 1` of all rows."""
        return self.array[:, low:high]


def as_rows(x: Float[np.ndarray, "N D"] | RowMatrix) -> RowMatrix:
    """Return `x`, or an adapter if it is an array."""
    return ArrayRows(x) if isinstance(x, np.ndarray) else x


def blocks(length: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last position, plus 1, of blocks of a matrix with few enough numbers.

    `length` is the number of positions, and `width` the number of numbers at each position.
    """
    size = max(1, BLOCK_NUMBERS // max(width, 1))
    for low in range(0, length, size):
        yield low, min(low + size, length)
