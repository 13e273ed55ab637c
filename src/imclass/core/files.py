"""Atomic writes, which replace a file completely or not at all, locks, and digests of files."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file that replaces `path` if the block succeeds and is deleted otherwise.

    The temporary file is written next to `path`, fsynced and renamed. Then the folder is fsynced.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_file(path: Path, content: bytes | str) -> None:
    """Write `content` to `path`. A failure leaves the previous file unchanged."""
    with atomic_writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Fsync `folder`, so that renames in it survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock_file(file: IO[str], shared: bool = False, wait: float = 0.0) -> bool:
    """Lock an open file, and return whether that succeeded. The lock ends when the file is closed.

    If another open file has a lock that excludes this one, try again once after `wait` seconds. Shared locks exclude
    only locks that are not shared.
    """
    for pause in (wait, 0.0):
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(pause)
    return False


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_mark(path: Path, mark: bytes) -> bool:
    """Return whether the first 1,024 bytes of a file contain `mark`, which identifies files written by imclass."""
    with path.open("rb") as file:
        return mark in file.read(1024)
