"""Plain values kept in the store until a file that they were read from changes.

The entries of tables stand in files that import PyTorch, which takes seconds; a list of them can come from here. An
index is only ever a copy: one that is missing, damaged or out of date is None, and one that cannot be written is not.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.core.files import write_file
from imclass.store.store import Store


@dataclass(frozen=True)
class Index:
    """A file in the store, and the key that what is in it must have."""

    path: Path
    key: str

    def read(self) -> Any:
        """Return the value, or None where there is no sound one of this key."""
        try:
            record = json.loads(self.path.read_bytes())
            sound = record["key"] == self.key and record["sha256"] == json_digest(record["value"])
            return record["value"] if sound else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self, value: Any) -> None:
        """Keep a value of plain JSON, if the store can be written to; a reader sees all of it or what was before."""
        record = {"key": self.key, "sha256": json_digest(value), "value": value}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.path, json.dumps(record))


def open_index(store: Store, name: str, folders: Sequence[Path], files: Sequence[Path], version: str) -> Index:
    """Return the index called `name` of these folders, fresh while the version and each file's size and time stay."""
    places = [str(folder.absolute()) for folder in folders]
    stamps = [file_stamp(file) for file in files]
    return Index(store.folder / "index" / f"{name}-{json_digest(places)[:8]}.json", json_digest([version, stamps]))


def file_stamp(file: Path) -> tuple[str, int, int]:
    """Return path, size and time of change of a file; without a size where it has gone meanwhile."""
    try:
        found = file.stat()
    except OSError:
        return str(file), -1, -1
    return str(file), found.st_size, found.st_mtime_ns


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a value of plain JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
