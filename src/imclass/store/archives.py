"""Safe unpacking of untrusted archives. Only plain files and folders are unpacked: either all of them or none."""

import contextlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imclass.core.errors import UserError
from imclass.core.files import sync_folder
from imclass.store.archive_members import (
    RECORD_BYTES,
    ArchiveMember,
    guard_reads,
    read_members,
    refusal,
    too_large_error,
)
from imclass.store.untrusted import GRACE_BYTES, MAX_RATIO

MAX_DEPTH = 32  # nested folders
MAX_PART_BYTES = 255  # bytes in one name, the limit in most file systems
SLACK_BYTES = 1 << 20  # bytes allowed in a tar stream besides the files' contents and headers


def extract(archive: Path, target: Path, max_bytes: int, max_files: int) -> list[Path]:
    """Unpack an archive into the folder `target` and return the paths of the files, in the archive's order.

    A new `target` appears only once it is complete. If `target` exists, the archive's top-level entries are added to
    it, and none of them may exist there already. At most `max_bytes` bytes, `max_files` files and `max_files` folders
    are written. Raise `UserError` if the archive is damaged or too large, or contains anything but plain files and
    folders inside `target`. If unpacking fails, nothing is left on disk.
    """
    new = not os.path.lexists(target)
    if not new and not target.is_dir():
        raise UserError(
            f"{target} is not a folder, so {archive} cannot be unpacked into it; move {target} out of the way"
        )
    limit = min(max_bytes, GRACE_BYTES + MAX_RATIO * archive_size(archive))
    place = target.parent if new else target
    try:
        place.mkdir(parents=True, exist_ok=True)
        with scratch_folder(place) as folder:
            writer = MemberWriter(archive, folder, limit, max_files)
            max_read = limit + SLACK_BYTES + max_files * 8 * RECORD_BYTES
            for member in guard_reads(archive, read_members(archive, max_read)):
                writer.add(member)
            if not writer.files:
                raise UserError(f"{archive} contains no files; delete the archive and download it again")
            writer.sync()
            move_into_place(archive, folder, target, new)
    except OSError as error:
        raise UserError(
            f"{archive} could not be unpacked into {target} ({error.strerror or error}); "
            "free some space on that disk, or make the folder writable"
        ) from None
    return [target.joinpath(*parts) for parts in writer.files]


def archive_size(archive: Path) -> int:
    """Return the size of an archive in bytes. Raise `UserError` if it does not exist."""
    if not archive.is_file():
        raise UserError(f"the archive {archive} does not exist; check the path")
    return archive.stat().st_size


@contextlib.contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Create a temporary folder in `place`. Remove it with its contents when the `with` block ends."""
    folder = Path(tempfile.mkdtemp(prefix=".unpacking.", suffix=".part", dir=place))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_into_place(archive: Path, folder: Path, target: Path, new: bool) -> None:
    """Rename `folder` to `target` if `new` is set; otherwise move the entries of `folder` into `target`."""
    pairs = [(folder, target)] if new else [(entry, target / entry.name) for entry in sorted(folder.iterdir())]
    for _, final in pairs:
        if os.path.lexists(final):
            raise UserError(
                f"{archive} contains '{final.name}', but {final} already exists; move {final} out of the way first"
            )
    for unpacked, final in pairs:
        unpacked.rename(final)
    sync_folder(target.parent if new else target)


@dataclass
class MemberWriter:
    """A writer that unpacks archive members into an empty, private folder. It records every name that it creates."""

    archive: Path
    folder: Path
    max_bytes: int
    max_files: int
    written: int = 0  # bytes
    files: list[tuple[str, ...]] = field(default_factory=list)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    spelling: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)  # keyed by case-folded name

    def add(self, member: ArchiveMember) -> None:
        """Write one member. Raise `UserError` if it is unsafe or exceeds a limit."""
        parts = self.safe_parts(member)
        for depth in range(1, len(parts) + member.folder):
            self.enter(parts[:depth], member.name)
        if not member.folder:
            self.claim(parts, member.name)
            self.files.append(parts)
            if len(self.files) > self.max_files:
                raise UserError(f"{self.archive} contains more than {self.max_files:,} files, so nothing was unpacked")
            self.write(self.folder.joinpath(*parts), member)

    def safe_parts(self, member: ArchiveMember) -> tuple[str, ...]:
        """Split a member's name into its parts. Raise `UserError` unless the name is safe on every system."""
        name = member.name
        if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name):
            raise refusal(self.archive, name, "is not a relative path")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise refusal(self.archive, name, "has a name with control characters or invalid UTF-8")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if not parts and not member.folder:
            raise refusal(self.archive, name, "is a file without a name")
        if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
            raise refusal(self.archive, name, f"has a name of more than {MAX_PART_BYTES} bytes")
        if ".." in parts:
            raise refusal(self.archive, name, "leads out of its folder")
        if len(parts) > MAX_DEPTH:
            raise refusal(self.archive, name, f"lies more than {MAX_DEPTH} folders deep")
        return parts

    def enter(self, parts: tuple[str, ...], name: str) -> None:
        """Create a folder unless it has already been created for this archive."""
        if parts in self.folders:
            return
        self.claim(parts, name)
        self.folders.add(parts)
        if len(self.folders) > self.max_files:
            raise UserError(f"{self.archive} contains more than {self.max_files:,} folders, so nothing was unpacked")
        self.folder.joinpath(*parts).mkdir()

    def claim(self, parts: tuple[str, ...], name: str) -> None:
        """Reserve a name. Raise `UserError` if it is already reserved, even in a different case or Unicode form."""
        other = self.spelling.setdefault(tuple(unicodedata.normalize("NFC", p).casefold() for p in parts), parts)
        if other is not parts:
            raise refusal(self.archive, name, f"would overwrite '{'/'.join(other)}'")

    def sync(self) -> None:
        """Flush all folders to disk, so that their entries survive a power failure."""
        for parts in ((), *self.folders):
            sync_folder(self.folder.joinpath(*parts))

    def write(self, path: Path, member: ArchiveMember) -> None:
        """Write the content of one new file and flush it to disk. The archive's mode bits are ignored."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            for block in guard_reads(self.archive, member.blocks):
                self.written += len(block)
                if self.written > self.max_bytes:
                    raise too_large_error(self.archive, self.max_bytes)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
