"""The store: a folder with data and weights, either downloaded and verified, or saved there by hand.

A download is written to NAME.part next to its final path and renamed only when its SHA-256 is the expected one. A file
under its final name can therefore be trusted, and an interrupted download resumes where it stopped.
"""

import contextlib
import errno
import io
import os
import shutil
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imclass.core.errors import UserError
from imclass.core.files import file_digest, sync_folder
from imclass.store.transfer import Transfer, TransferError, remote_size, secure_opener

DownloadProgress = Callable[[int, int], None]  # called with the bytes received so far and the bytes in total


@dataclass(frozen=True)
class Download:
    """A file that belongs in the store: its path there, its URL, and its expected digest and size.

    For some published files, the size or the SHA-256 is unknown, or only the first digits of the SHA-256 are known.
    """

    path: str  # relative to the store
    url: str = ""  # https only; empty if the file cannot be downloaded directly
    sha256: str = ""  # all its digits, or the first ones if no more are known
    size: int | None = None  # bytes
    name: str = ""  # its name in messages, if not `path`
    source: str = ""  # a description of where to get the file by hand, if not from `url`

    @property
    def title(self) -> str:
        """Return the name by which messages refer to the file."""
        return self.name or self.path

    def matches(self, digest: str) -> bool:
        """Return whether a hexadecimal SHA-256 begins with the known digits."""
        return digest.startswith(self.sha256.lower())


@dataclass(frozen=True)
class Store:
    """A folder of data sets and weights."""

    folder: Path
    offline: bool = False
    scratch: Path | None = None  # a folder for what is computed from images, if not `folder`

    @property
    def computed(self) -> Path:
        """The folder with what is computed from images: their features, and what parts of pipelines have learned."""
        return self.scratch or self.folder

    def find(self, *relative: str) -> Path | None:
        """Return the first of these paths that exists in the store, or None.

        Raise `UserError` if a path leads outside the store.
        """
        return next((path for path in map(self.path_inside, relative) if path.exists()), None)

    def get(
        self, download: Download, report: DownloadProgress | None = None, context: ssl.SSLContext | None = None
    ) -> Path:
        """Return the path of a file in the store. If the file is missing, download it first.

        `report(bytes received so far, bytes in total)` is called before and during the download. `context` contains the
        trusted certificates, by default the system's. Raise `UserError` if the SHA-256 is not the expected one.
        """
        target = self.path_inside(download.path)
        if not os.path.lexists(target):
            if self.offline or not download.url:
                why = "--offline forbids downloading it" if download.url else "it cannot be downloaded directly"
                raise UserError(
                    f"{download.title} is not in the store, and {why}. {manual_instructions(download, target)}"
                )
            fetch(download, target, report or ignore_progress, context or ssl.create_default_context())
        verify_download(target, download)
        return target

    def path_inside(self, relative: str) -> Path:
        """Return the path of `relative` in the store. Raise `UserError` if it leads outside the store."""
        path = PurePosixPath(relative)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{relative!r} is not a path inside the store {self.folder}; give a relative path without '..'"
            )
        return self.folder / path


def open_store(folder: Path | None = None, offline: bool = False) -> Store:
    """Return the store in `folder`, by default the user's. With `offline`, the store refuses to download.

    The folder need not exist. Raise `UserError` if the path exists but is not a folder.
    """
    place = (folder or default_folder()).expanduser().absolute()
    if os.path.lexists(place) and not place.is_dir():
        raise UserError(f"the store {place} is not a folder; choose another with --store or IMCLASS_STORE")
    return Store(place, offline)


def default_folder() -> Path:
    """Return $IMCLASS_STORE or, if it is unset, `imclass` in the user's cache folder. The folder is not created."""
    if variable := os.environ.get("IMCLASS_STORE"):
        return Path(variable)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "imclass"
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification requires that a relative path in this variable be ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "imclass"


def ignore_progress(held: int, size: int) -> None:
    """Ignore a progress report."""


def manual_instructions(download: Download, target: Path) -> str:
    """Return instructions for getting the file by hand. Every failure message ends with them."""
    action = f"save {download.url}" if download.url else f"save {download.source}"
    facts = []
    if download.size is not None:
        facts.append(f"{download.size:,} bytes")
    if download.sha256:
        label = "SHA-256" if len(download.sha256) == 64 else "its SHA-256 begins with"
        facts.append(f"{label} {download.sha256}")
    details = f" ({', '.join(facts)})" if facts else ""
    return f"By hand: {action} as {target}{details}"


def verify_download(target: Path, download: Download) -> None:
    """Raise `UserError` unless the file at `target` is the expected one. The file is not changed."""
    if not target.is_file():
        raise UserError(
            f"{target} is not a file; move {target} out of the way. {manual_instructions(download, target)}"
        )
    digest = file_digest(target)
    if not download.matches(digest):
        raise UserError(
            f"{target} is not the expected file: its SHA-256 begins with {digest[:12]} "
            f"({target.stat().st_size:,} bytes), but {download.sha256[:12]} is expected. "
            f"Move {target} out of the way to download the file again. {manual_instructions(download, target)}"
        )


def fetch(download: Download, target: Path, report: DownloadProgress, context: ssl.SSLContext) -> None:
    """Download a file to `target` and verify it. Raise `UserError` if that fails for any reason."""
    send = secure_opener(context)
    try:
        if not download.url.startswith("https://"):
            raise TransferError("the URL is not https")
        size = download.size if download.size is not None else remote_size(download.url, send)
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock_part(part_path(target), lambda held: report(held, size)) as file:
            if not os.path.lexists(target):  # another process may have downloaded it while this one waited
                report(file.seek(0, os.SEEK_END), size)
                publish(Transfer(download.url, size, file, send, report), target, download)
    except TransferError as failed:
        problem = f"{download.title} could not be downloaded from {download.url}: {failed}"
        raise UserError(f"{problem}. {manual_instructions(download, target)}") from None
    except OSError as error:
        problem = f"{download.title} could not be written to {target.parent} ({error.strerror or error})"
        fix = f"{space_advice(download, target, error)}or choose another folder with --store"
        raise UserError(f"{problem}; {fix}. {manual_instructions(download, target)}") from None


def part_path(target: Path) -> Path:
    """Return the path of the partial file, which contains a download until it is verified."""
    return target.with_name(f"{target.name}.part")


def space_advice(download: Download, target: Path, error: OSError) -> str:
    """Return advice after a failed write: free some space if the disk is full; otherwise make the folder writable."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return "make the folder writable, "
    free = shutil.disk_usage(target.parent).free
    size = "" if download.size is None else f"the file has {download.size:,} bytes, and "
    return f"{size}only {free:,} bytes are free; free some space, "


@contextlib.contextmanager
def lock_part(part: Path, waiting: Callable[[int], None]) -> Iterator[io.BufferedRandom]:
    """Open or create `part`, and lock it until the `with` block ends. If the file is then empty, remove it.

    While another process holds the lock, `waiting` is called with the current size of the file.
    """
    import fcntl  # exists only on POSIX, and only downloads need it

    while True:
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+b") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting(os.fstat(file.fileno()).st_size)
                    time.sleep(0.1)
            if not is_at(file, part):  # the process that held the lock has renamed or removed the file
                continue
            try:
                yield file
            finally:
                if is_at(file, part) and file.seek(0, os.SEEK_END) == 0:
                    part.unlink()
            return


def is_at(file: io.BufferedRandom, path: Path) -> bool:
    """Return whether `path` still refers to the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def publish(transfer: Transfer, target: Path, download: Download) -> None:
    """Complete the transfer, verify its SHA-256 and rename the file to `target`.

    If the SHA-256 is not the expected one, remove the file and raise `TransferError`.
    """
    part = part_path(target)
    before = transfer.held
    if shutil.disk_usage(target.parent).free < transfer.size - before:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    transfer.complete()
    digest = transfer.digest()
    if not download.matches(digest) and before > 0:  # bytes from an earlier download may be the cause
        transfer.restart()
        transfer.complete()
        digest = transfer.digest()
    if not download.matches(digest):
        part.unlink()
        wanted = download.sha256[:12]
        raise TransferError(f"the SHA-256 of the received file begins with {digest[:12]}, but {wanted} is expected")
    os.fsync(transfer.file.fileno())
    if os.path.lexists(target):  # saved by hand in the meantime: that file is kept, and `get` verifies it next
        part.unlink()
    else:
        os.replace(part, target)
        sync_folder(target.parent)
