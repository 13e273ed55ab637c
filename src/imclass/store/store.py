"""The store: data and weights kept locally, files put there by hand used first, downloads checked before they count.

A download grows in NAME.part beside its place and takes its name only when its SHA-256 is the expected one, so whatever
bears the final name can be trusted, and whatever was interrupted goes on where it stopped.
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

DownloadProgress = Callable[[int, int], None]  # bytes held so far, bytes in all


@dataclass(frozen=True)
class Download:
    """A file to be had: where it belongs in the store, where it comes from, and what it must be.

    Of some published files only the first digits of the SHA-256 are known, or nothing, and not the size.
    """

    path: str  # relative to the store
    url: str = ""  # https only; empty where the file cannot be downloaded as it is
    sha256: str = ""  # all of it, or as much as is known
    size: int | None = None  # bytes
    name: str = ""  # what messages call it, if not `path`
    source: str = ""  # where a person gets it, if not from `url`

    @property
    def title(self) -> str:
        """What messages call the file."""
        return self.name or self.path

    def matches(self, digest: str) -> bool:
        """Whether this SHA-256, in hexadecimal, is the file's as far as that is known."""
        return digest.startswith(self.sha256.lower())


@dataclass(frozen=True)
class Store:
    """A folder of data sets and weights."""

    folder: Path
    offline: bool = False

    def find(self, *relative: str) -> Path | None:
        """The first of these paths that exists in the store; a path that leads out of it is a `UserError`."""
        return next((path for path in map(self.inside, relative) if path.exists()), None)

    def get(
        self, download: Download, report: DownloadProgress | None = None, context: ssl.SSLContext | None = None
    ) -> Path:
        """The file, from the store or else from its URL; its SHA-256 is the one expected, or there is a `UserError`.

        `report(bytes so far, bytes in all)` is called as it grows; `context` decides whose certificates are trusted
        (the system's unless given).
        """
        target = self.inside(download.path)
        if not os.path.lexists(target):
            if self.offline or not download.url:
                why = "--offline forbids a download" if download.url else "it cannot be downloaded as it is"
                raise UserError(
                    f"{download.title} is not in the store, and {why}. {manual_instructions(download, target)}"
                )
            fetch(download, target, report or ignore_progress, context or ssl.create_default_context())
        verify_download(target, download)
        return target

    def inside(self, relative: str) -> Path:
        """The place of `relative` in the store."""
        path = PurePosixPath(relative)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise UserError(f"{relative!r} is no place in the store {self.folder}; give a path below it, without '..'")
        return self.folder / path


def open_store(folder: Path | None = None, offline: bool = False) -> Store:
    """The store in `folder`, or in the default one; it need not exist yet. A file in its place is a `UserError`."""
    place = (folder or default_folder()).expanduser().absolute()
    if os.path.lexists(place) and not place.is_dir():
        raise UserError(f"the store {place} is not a folder; name one with --store or IMCLASS_STORE")
    return Store(place, offline)


def default_folder() -> Path:
    """$IMCLASS_STORE, else `imclass` in the user's cache folder; nothing is made."""
    if own := os.environ.get("IMCLASS_STORE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "imclass"
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification: a relative path there is to be ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "imclass"


def ignore_progress(held: int, size: int) -> None:
    """A report that nobody reads."""


def manual_instructions(download: Download, target: Path) -> str:
    """Return how to do without the download: the sentence that every failure ends with."""
    whole = len(download.sha256) == 64
    facts = [f"{download.size:,} bytes"] if download.size is not None else []
    facts += [f"{'SHA-256' if whole else 'its SHA-256 begins'} {download.sha256}"] if download.sha256 else []
    what = f"save {download.url}" if download.url else f"put {download.source}"
    return f"By hand: {what} as {target}" + (f" ({', '.join(facts)})" if facts else "")


def verify_download(target: Path, download: Download) -> None:
    """Raise `UserError` unless the file is the one expected; leave the file as it is."""
    if not target.is_file():
        raise UserError(f"{target} is not a file; move it away. {manual_instructions(download, target)}")
    digest = file_digest(target)
    if not download.matches(digest):
        raise UserError(
            f"{target} is not the file expected: its SHA-256 begins {digest[:12]} ({target.stat().st_size:,} bytes), "
            f"and {download.sha256[:12]} is wanted; move it away to have it downloaded. "
            f"{manual_instructions(download, target)}"
        )


def fetch(download: Download, target: Path, report: DownloadProgress, context: ssl.SSLContext) -> None:
    """Bring `download` to `target`, whole and verified; every failure is a `UserError`."""
    send = secure_opener(context)
    try:
        if not download.url.startswith("https://"):
            raise TransferError("the address is not https")
        size = download.size if download.size is not None else remote_size(download.url, send)
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock_part(part_path(target), lambda held: report(held, size)) as file:
            if not os.path.lexists(target):  # another process may have brought it while this one waited
                publish(Transfer(download.url, size, file, send, report), target, download)
    except TransferError as failed:
        why = f"{download.title} could not be downloaded from {download.url}: {failed}"
        raise UserError(f"{why}. {manual_instructions(download, target)}") from None
    except OSError as error:
        why = f"{download.title} could not be written into {target.parent} ({error.strerror or error})"
        fix = f"{space_advice(download, target, error)}or name another folder with --store"
        raise UserError(f"{why}; {fix}. {manual_instructions(download, target)}") from None


def part_path(target: Path) -> Path:
    """Where a download lies until it is verified."""
    return target.with_name(f"{target.name}.part")


def space_advice(download: Download, target: Path, error: OSError) -> str:
    """Return what to do about a full disk, with the sizes; for other errors, to make the folder writable."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return "make it writable, "
    free = shutil.disk_usage(target.parent).free
    size = "" if download.size is None else f"the file has {download.size:,} bytes and "
    return f"{size}{free:,} are free: make room, "


@contextlib.contextmanager
def lock_part(part: Path, waiting: Callable[[int], None]) -> Iterator[io.BufferedRandom]:
    """`part`, opened (made if need be) and this process's alone until the end; an empty one is not left behind.

    While somebody else holds it, `waiting` is told its size.
    """
    import fcntl  # POSIX only, and needed for downloads alone

    while True:
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+b") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting(os.fstat(file.fileno()).st_size)
                    time.sleep(0.1)
            if not is_at(file, part):  # renamed or removed by the one who held it
                continue
            try:
                yield file
            finally:
                if is_at(file, part) and file.seek(0, os.SEEK_END) == 0:
                    part.unlink()
            return


def is_at(file: io.BufferedRandom, path: Path) -> bool:
    """Whether the open file is still the one that bears this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def publish(transfer: Transfer, target: Path, download: Download) -> None:
    """Complete the transfer and give the file its name if its SHA-256 is as expected; remove it if not."""
    part, before = part_path(target), transfer.held
    if shutil.disk_usage(target.parent).free < transfer.size - before:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    transfer.complete()
    digest = transfer.digest()
    if not download.matches(digest) and before > 0:  # what was here before may be to blame
        transfer.restart()
        transfer.complete()
        digest = transfer.digest()
    if not download.matches(digest):
        part.unlink()
        wanted = download.sha256[:12]
        raise TransferError(f"what came has a SHA-256 that begins {digest[:12]}, and {wanted} is expected")
    os.fsync(transfer.file.fileno())
    if os.path.lexists(target):  # put there by hand meanwhile: theirs is left alone, and looked at next
        part.unlink()
    else:
        os.replace(part, target)
        sync_folder(target.parent)
