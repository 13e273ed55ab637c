"""Plain JSON values kept in the store. A value is valid until a file on which it depends changes.

Table entries are defined in files that import PyTorch, and this import takes seconds. With an index, the entries can
be listed without importing PyTorch. An index is only a copy. If it is missing, damaged or out of date, reading it
returns None. Failures to write it are ignored.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.core.files import write_file
from imclass.store.store import Store


@dataclass(frozen=True)
class Index:
    """A file in the store that contains a value. The value is up to date if it was stored with the same `key`."""

    path: Path
    key: str

    def read(self) -> Any:
        """Return the value, or None if the file is missing, damaged or out of date."""
        try:
            record = json.loads(self.path.read_bytes())
            valid = record["key"] == self.key and record["sha256"] == json_digest(record["value"])
            return record["value"] if valid else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self, value: Any) -> None:
        """Store a plain JSON value if the store is writable. Readers see either the old or the new value."""
        record = {"key": self.key, "sha256": json_digest(value), "value": value}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.path, json.dumps(record))


def open_index(store: Store, name: str, folders: Sequence[Path], files: Sequence[Path], version: str) -> Index:
    """Return the index called `name` for these folders. It is valid until `version` or the stamp of a file changes."""
    places = [str(folder.absolute()) for folder in folders]
    stamps = [file_stamp(file) for file in files]
    return Index(store.folder / "index" / f"{name}-{json_digest(places)[:8]}.json", json_digest([version, stamps]))


def file_stamp(file: Path | str) -> tuple[str, int, int]:
    """Return the path, size and modification time of a file. The last two are -1 if the file no longer exists."""
    try:
        status = os.stat(file)
    except OSError:
        return str(file), -1, -1
    return str(file), status.st_size, status.st_mtime_ns


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a plain JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
