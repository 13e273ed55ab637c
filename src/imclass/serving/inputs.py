"""The images a user names: files, folders and globs, in the order given."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imclass.core.contracts import Image
from imclass.core.errors import BadImage, UserError
from imclass.data.images.decode import decode
from imclass.data.names import is_address
from imclass.data.threads import ordered
from imclass.data.walk import Walk


@dataclass(frozen=True)
class Files:
    """Image files, as the decoding threads walk them."""

    paths: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)  # what was passed over in folders, a sentence each

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Image:
        return decode(Path(self.paths[i]), self.paths[i])

    def name(self, i: int) -> str:
        """The path as the user gave it."""
        return self.paths[i]


def gather(named: Sequence[str]) -> Files:
    """Return every file that `named` stands for; a folder gives its images, sorted. Raise `UserError` where none is.

    Links to folders are followed. A folder that cannot be read is listed, so that it is refused by name.
    """
    if not named:
        raise UserError("name at least one image file or folder")
    paths: list[str] = []
    notes: list[str] = []
    for place in (place for name in named for place in stands_for(name)):
        if not os.path.isdir(place):
            paths.append(place)
            continue
        walk = Walk(Path(place))
        paths += [str(walk.root / file) for file in walk.images()]
        notes += [f"{place}: {note}" for note in walk.notes()]
    if not paths:
        raise UserError("\n".join([f"there are no image files in {', '.join(named)}", *notes]))
    return Files(tuple(paths), tuple(notes))


def stands_for(name: str) -> list[str]:
    """Return the files and folders that a path or a pattern stands for; the part of it that is there is no pattern."""
    if not name:
        raise UserError("a name is empty; name image files or folders")
    if is_address(name):
        raise UserError(f"{name} is an address; save what is there as a file, and give its path")
    path = Path(name)
    if os.path.isdir(name) or os.path.lexists(path):
        return [name]
    there = next((parent for parent in path.parents if os.path.isdir(parent)), Path())
    pattern = str(path.relative_to(there)) + (os.sep if name.endswith(os.sep) else "")
    found = sorted(glob.glob(pattern, root_dir=there, recursive=True))
    if not found:
        raise UserError(f"there is no file or folder {name}")
    return [str(there / match) for match in found]


def in_batches(files: Files, batch: int, workers: int) -> Iterator[list[tuple[str, Image | BadImage]]]:
    """Names and decoded images in order, `batch` at a time; a refused one is its `BadImage`."""
    several: list[tuple[str, Image | BadImage]] = []
    for name, item in zip(files.paths, ordered(files, np.arange(len(files)), workers), strict=True):
        several.append((name, item))
        if len(several) == batch:
            yield several
            several = []
    if several:
        yield several
