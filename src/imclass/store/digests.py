"""SHA-256 digests of files, kept in the store. A digest is valid until its file's size or modification time changes.

Like every index, the file of digests can be rebuilt. If it is missing, locked or read-only, work continues without it;
if it is damaged, it is removed and rebuilt.
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from imclass.store.database import open_database
from imclass.store.index import file_stamp
from imclass.store.store import Store

Stamp: TypeAlias = tuple[str, int, int]  # real path, size in bytes, modification time in nanoseconds

# A second write within the same tick of the file system's clock does not alter the modification time. The coarsest
# clock in use, FAT's, has ticks of 2 s. Once a file is older than that, any later write alters its modification time.
SETTLING_NS = 2 * 10**9  # nanoseconds
CREATE_TABLE = (
    "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, sha256 BLOB) WITHOUT ROWID"
)


@dataclass(frozen=True)
class Digests:
    """An SQLite file with one SHA-256 digest per path."""

    path: Path

    def read(self, stamps: Iterable[Stamp]) -> dict[Stamp, bytes]:
        """Return the digest of each file whose stamp has not changed since the digest was stored."""
        found: dict[Stamp, bytes] = {}
        with open_database(self.path) as database:
            if database is None:
                return found
            database.execute("BEGIN")  # without a transaction, every query would lock and unlock the file
            for path, size, changed in stamps:
                query = "SELECT size, changed, sha256 FROM files WHERE path = ?"
                row = database.execute(query, (os.fsencode(path),)).fetchone()
                if row and row[:2] == (size, changed) and isinstance(row[2], bytes) and len(row[2]) == 32:
                    found[path, size, changed] = row[2]
        return found

    def write(self, digests: Mapping[Stamp, bytes]) -> None:
        """Store digests and replace earlier ones for the same paths. Do nothing if the store is not writable."""
        rows = [(os.fsencode(path), size, changed, digest) for (path, size, changed), digest in digests.items()]
        if not rows:
            return
        with open_database(self.path, make=True) as database:
            if database is not None:
                database.execute(CREATE_TABLE)
                database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
                database.commit()


def open_digests(store: Store) -> Digests:
    """Return the digests kept in a store. Their file is created by the first write."""
    return Digests(store.folder / "index" / "digests.sqlite")


def real_stamp(file: str | Path) -> Stamp:
    """Return the stamp of a file after following symbolic links."""
    return file_stamp(Path(os.path.realpath(file)))


def real_stamps(files: Iterable[str | Path]) -> list[Stamp]:
    """Return the stamp of each file after following symbolic links. The real path of a folder is looked up once."""
    folders: dict[str, str] = {}
    stamps = []
    for file in files:
        folder, name = os.path.split(file)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        path = os.path.join(folders[folder], name)
        stamps.append(real_stamp(path) if os.path.islink(path) else file_stamp(path))
    return stamps


def is_settled(before: Stamp, file: str | Path) -> bool:
    """Return whether the stamp taken before a file was read reliably identifies the content that was read."""
    return real_stamp(file) == before and time.time_ns() - before[2] >= SETTLING_NS
