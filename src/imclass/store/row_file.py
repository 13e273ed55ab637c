"""Long rows of numbers computed from images, in a file that is read in blocks.

Rows of the same width lie one after the other in a file. An index next to it contains the content hash of each row's
image and a checksum. A row counts only once its record is in the index, so a process that is killed loses at most the
row that it was writing. Several processes may append to the same file.
"""

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from imclass.core.errors import UserError
from imclass.store.index import json_digest
from imclass.store.store import Store

RECORD = np.dtype([("content", "<u8"), ("sum", "<u4"), ("width", "<u4")])
BLOCK_BYTES = 64 * 2**20  # read at a time when rows are verified


class StoredRows:
    """Rows of a file in a chosen order. Only the blocks that are asked for are in memory, as arrays.

    The file is not mapped into memory, because the system then counts the pages around each piece that is read: of a
    block of columns, most of the file.
    """

    def __init__(self, path: Path, width: int, numbers: Int64[np.ndarray, "N"]) -> None:
        self.path, self.numbers, self.shape = path, numbers, (len(numbers), width)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: slice) -> Float32[np.ndarray, "n D"]:
        """Return some rows."""
        return self.read(self.numbers[chosen], 0, self.shape[1])

    def columns(self, low: int, high: int) -> Float32[np.ndarray, "N d"]:
        """Return the columns from `low` up to, but without, `high`."""
        return self.read(self.numbers, low, high)

    def read(self, numbers: Int64[np.ndarray, "n"], low: int, high: int) -> Float32[np.ndarray, "n d"]:
        """Return some columns of the rows with these numbers. Raise `UserError` if the file has lost its end."""
        found, width = np.empty((len(numbers), high - low), "<f4"), self.shape[1]
        if not found.size:
            return found.astype(np.float32, copy=False)
        with self.path.open("rb", buffering=0) as file:
            for row, number in zip(found, numbers.tolist(), strict=True):
                if os.preadv(file.fileno(), [row.data], 4 * (number * width + low)) < row.nbytes:
                    raise UserError(f"{self.path} became shorter while it was read; run the same command again")
        return found.astype(np.float32, copy=False)


@dataclass(frozen=True)
class RowFile:
    """A file of float32 rows with the same width. The key of a row is the 64-bit content hash of its image."""

    path: Path

    @property
    def index(self) -> Path:
        """Return the path of the index."""
        return self.path.with_suffix(".index")

    def records(self) -> np.ndarray:
        """Return the records of the index, up to the first that does not belong to the others."""
        data = self.index.read_bytes() if self.index.is_file() and self.path.is_file() else b""
        records = np.frombuffer(data[: len(data) // RECORD.itemsize * RECORD.itemsize], RECORD)
        if not len(records) or not records["width"][0]:
            return records[:0]
        stored = self.path.stat().st_size // (4 * int(records["width"][0]))
        foreign = np.flatnonzero(records["width"] != records["width"][0])
        return records[: min(stored, *foreign[:1], len(records))]

    def is_damaged(self) -> bool:
        """Return whether the index has records of rows that are not as wide as the first, or no rows at all."""
        if not self.index.is_file() or self.index.stat().st_size < RECORD.itemsize:
            return False
        data = self.index.read_bytes()
        widths = np.frombuffer(data[: len(data) // RECORD.itemsize * RECORD.itemsize], RECORD)["width"]
        return not self.path.is_file() or not widths[0] or bool((widths != widths[0]).any())

    def find(self, contents: Sequence[int]) -> dict[int, int]:
        """Return the number of the row of each image that has one, keyed by content hash. Checksums are verified."""
        if self.is_damaged():
            self.remove()
        records = self.records()
        newest = {int(content): number for number, content in enumerate(records["content"].tolist())}
        found = {content: newest[content] for content in contents if content in newest}
        if found:
            rows = StoredRows(self.path, int(records["width"][0]), np.array(sorted(found.values()), np.int64))
            intact = set(self.intact_numbers(rows, records))
            found = {content: number for content, number in found.items() if number in intact}
        return found

    def intact_numbers(self, rows: StoredRows, records: np.ndarray) -> Iterator[int]:
        """Yield the number of each row whose checksum is right."""
        step = max(1, BLOCK_BYTES // (4 * rows.shape[1]))
        for low in range(0, len(rows), step):
            numbers = rows.numbers[low : low + step].tolist()
            for number, row in zip(numbers, rows[low : low + step], strict=True):
                if zlib.crc32(row.tobytes()) == records["sum"][number]:
                    yield number

    def append(self, content: int, row: Float32[np.ndarray, "D"]) -> int:
        """Add a row, and return its number. Raise `UserError` if the file cannot be written."""
        data = row.astype("<f4").tobytes()
        record = np.array([(content, zlib.crc32(data), len(row))], RECORD).tobytes()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.index.open("ab") as index:
                fcntl.flock(index, fcntl.LOCK_EX)
                kept = index.seek(0, os.SEEK_END) // RECORD.itemsize  # another process may have appended
                index.truncate(kept * RECORD.itemsize)
                with self.path.open("r+b" if self.path.is_file() else "w+b") as rows:
                    rows.seek(kept * len(data))
                    rows.write(data)
                index.write(record)
            return kept
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written to: {error.strerror or error}; free some space, or choose another "
                "folder with --store"
            ) from None

    def rows(self, contents: Sequence[int], numbers: dict[int, int]) -> StoredRows:
        """Return the rows of images, given the numbers that `find` returned. Each image must have one."""
        records = self.records()
        width = int(records["width"][0]) if len(records) else 0
        return StoredRows(self.path, width, np.array([numbers[content] for content in contents], np.int64))

    def remove(self) -> None:
        """Remove the file and its index."""
        for path in (self.index, self.path):
            with contextlib.suppress(OSError):
                path.unlink()


def open_row_file(store: Store, key: Any) -> RowFile:
    """Return the file of rows kept in a store for `key`, a plain JSON value. The first row creates it."""
    return RowFile(store.computed / "features" / f"{json_digest(key)[:32]}.rows")
