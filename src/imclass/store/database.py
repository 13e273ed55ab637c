"""SQLite files that can be rebuilt. If one is missing, locked, read-only or damaged, work continues without it."""
# Tested in tests/store/test_digests.py

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

LOCK_TIMEOUT = 1.0  # seconds to wait for another process that has locked the file


@contextlib.contextmanager
def open_database(path: Path, make: bool = False) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection, or None if the file does not exist. With `make`, a missing file is created if possible.

    An SQLite error ends the `with` block and is suppressed. A damaged file is removed.
    """
    if make:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    if not path.is_file():
        yield None
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT)) as database:
            yield database
    except sqlite3.OperationalError:  # locked, read-only, on a full disk, or without the table
        pass
    except sqlite3.DatabaseError:  # damaged, or not a database
        with contextlib.suppress(OSError):
            path.unlink()
