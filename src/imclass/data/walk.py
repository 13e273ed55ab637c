"""A read-only walk through folders of images. The paths that it skips are recorded."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imclass.core.errors import UserError
from imclass.core.files import has_mark
from imclass.core.text import list_names
from imclass.data.names import count_suffixes, is_hidden, is_image


@dataclass
class Walk:
    """A walk through the folder `root`. Its lists contain the skipped paths, relative to `root`."""

    root: Path
    hidden: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)  # files and folders that are not in a class folder
    other: list[str] = field(default_factory=list)  # files without an image file extension
    loops: list[str] = field(default_factory=list)  # links to a folder that contains them
    runs: list[str] = field(default_factory=list)  # the folders of training runs
    unreadable: list[str] = field(default_factory=list)  # folders that cannot be listed

    def folders(self, relative: str) -> list[str]:
        """Return the names of the folders in `relative`, except hidden folders and runs.

        The paths of all other entries are recorded as skipped.
        """
        found = []
        for entry in list_folder(self.root / relative):
            path = join_path(relative, entry.name)
            if is_hidden(entry.name):
                self.hidden.append(path)
            elif not is_folder(entry):
                self.outside.append(path)
            elif is_run(Path(entry.path)):
                self.runs.append(path)
            else:
                found.append(entry.name)
        return found

    def images(self, relative: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
        """Yield every image in `relative` and its subfolders. Links are followed, but loops and runs are skipped.

        A folder that cannot be read is yielded as if it were an image, so that it is counted and reported as refused.
        """
        here = os.path.realpath(self.root / relative)
        if here in above:
            self.loops.append(relative)
            return
        try:
            entries = scan_folder(self.root / relative)
        except OSError:
            self.unreadable.append(relative or str(self.root))
            yield relative
            return
        for entry in entries:
            path = join_path(relative, entry.name)
            if is_hidden(entry.name):
                self.hidden.append(path)
            elif is_folder(entry):
                if is_run(Path(entry.path)):
                    self.runs.append(path)
                else:
                    yield from self.images(path, (*above, here))
            elif is_image(entry.name):
                yield path
            else:
                self.other.append(path)

    def runs_in(self, relative: str) -> list[str]:
        """Return the runs that were found below a folder."""
        return [run for run in self.runs if run.startswith(f"{relative}/")]

    def notes(self) -> tuple[str, ...]:
        """Return a note for each kind of skipped path, with the first few paths of that kind."""
        kinds = (
            ("hidden files or folders", self.hidden),
            ("files or folders outside the class folders", self.outside),
            (f"files without an image file extension ({count_suffixes(self.other)})", self.other),
            ("links to a folder that contains them", self.loops),
            ("folders of imclass runs", self.runs),
        )
        notes = [f"ignored {len(names):,} {kind}: {list_names(names, 3)}" for kind, names in kinds if names]
        if self.unreadable:
            notes.append(f"cannot read {len(self.unreadable):,} folders: {list_names(self.unreadable, 3)}")
        return tuple(notes)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one. A broken link is not a folder."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_run(folder: Path) -> bool:
    """Return whether, according to its `config.json`, a folder is a training run (finished or not)."""
    try:
        config = folder / "config.json"
        return config.is_file() and has_mark(config, b'"format"') and has_mark(config, b'"training": {')
    except OSError:
        return False


def join_path(folder: str, name: str) -> str:
    """Return the path of `name` in `folder`, relative to the root. For the root itself, `folder` is ""."""
    return f"{folder}/{name}" if folder else name


def scan_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name."""
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name. Raise `UserError` if the folder cannot be read."""
    try:
        return scan_folder(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read: {error.strerror}; change its permissions, or move the folder elsewhere"
        ) from None
