"""The images a user names: files, folders and globs, in the order given."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imclass.core.contracts import Image
from imclass.core.errors import BadImage, UserError
from imclass.data.images.decode import decode
from imclass.data.sets.folder import is_hidden, is_image
from imclass.data.threads import ordered


@dataclass(frozen=True)
class Files:
    """Image files without labels, as a data set that the decoding threads can walk."""

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Image, int]:
        return decode(Path(self.paths[i]), self.paths[i]), 0

    def name(self, i: int) -> str:
        """The path as the user gave it."""
        return self.paths[i]


def gather(named: Sequence[str]) -> Files:
    """Every file that `named` stands for; a folder gives its images, sorted. What is not there is a `UserError`."""
    paths = [path for name in named for path in stands_for(name)]
    if not paths:
        raise UserError(
            f"there are no image files in {', '.join(named)}" if named else "name at least one image file or folder"
        )
    return Files(tuple(paths))


def stands_for(name: str) -> list[str]:
    """The files of one path or glob."""
    path = Path(name)
    if os.path.isdir(name):
        return [str(p) for p in sorted(path.rglob("*")) if wanted(p.relative_to(path), p)]
    if os.path.lexists(path):
        return [name]
    found = sorted(glob.glob(name, recursive=True))
    if not found:
        raise UserError(f"there is no file or folder {name}")
    return [file for match in found for file in ([match] if not os.path.isdir(match) else stands_for(match))]


def wanted(relative: Path, path: Path) -> bool:
    """Whether a file found in a folder is an image by its name, and not hidden."""
    return is_image(path) and not any(is_hidden(part) for part in relative.parts) and not path.is_dir()


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
