"""Rows of numbers computed from images, such as the features of a network, with the images' content hashes as keys.

Like every index, a file of rows can be rebuilt. Each write is a transaction, so if the process is killed, at most
the last write is lost.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from imclass.store.database import open_database
from imclass.store.index import json_digest
from imclass.store.store import Store

CREATE_TABLE = "CREATE TABLE IF NOT EXISTS rows (content INTEGER PRIMARY KEY, numbers BLOB, sum INTEGER)"


@dataclass(frozen=True)
class Rows:
    """An SQLite file of float32 rows. The key of a row is the 64-bit content hash of its image."""

    path: Path

    def read(self, contents: Iterable[int]) -> dict[int, Float32[np.ndarray, "D"]]:
        """Return the rows stored for images with these content hashes. Rows with a wrong checksum are left out."""
        found: dict[int, Float32[np.ndarray, D]] = {}
        with open_database(self.path) as database:
            if database is None:
                return found
            for content in contents:
                query = "SELECT numbers, sum FROM rows WHERE content = ?"
                row = database.execute(query, (signed_number(content),)).fetchone()
                if row and isinstance(row[0], bytes) and zlib.crc32(row[0]) == row[1]:
                    found[content] = np.frombuffer(row[0], "<f4")
        return found

    def count(self, contents: Iterable[int]) -> int:
        """Return how many images with these content hashes have a row. Checksums are not verified."""
        with open_database(self.path) as database:
            if database is not None:
                held = {content for (content,) in database.execute("SELECT content FROM rows")}
                return len(held.intersection(map(signed_number, contents)))
        return 0

    def write(self, rows: Mapping[int, Float32[np.ndarray, "D"]]) -> None:
        """Store rows and replace earlier ones with the same keys. Do nothing if the store is not writable."""
        packed = [(signed_number(content), row.astype("<f4").tobytes()) for content, row in rows.items()]
        with open_database(self.path, make=bool(rows)) as database:
            if database is not None:
                database.execute(CREATE_TABLE)
                values = [(content, numbers, zlib.crc32(numbers)) for content, numbers in packed]
                database.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", values)
                database.commit()


def signed_number(content: int) -> int:
    """Return the signed number with the same 64 bits, because SQLite has no unsigned integers."""
    return content - (content >> 63 << 64)


def open_rows(store: Store, key: Any) -> Rows:
    """Return the rows kept in a store for `key`, a plain JSON value. Their file is created by the first write."""
    return Rows(store.computed / "features" / f"{json_digest(key)[:32]}.sqlite")
