"""What the readers of published layouts share: the folder of a data set, lists in text files, and checks of images.

Users fetch these data sets by hand. They give the folder as --data, or link it into the store under the name of the
data set.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import Targets
from imclass.core.text import list_names
from imclass.data.sets.folder import FolderDataset, check_root
from imclass.data.sets.table import text_of
from imclass.data.source import DataLocation
from imclass.data.walk import Walk
from imclass.store.digests import open_digests


class ListEntry(NamedTuple):
    """What follows the key in a line of a list (the key itself if nothing does), and the place of the line."""

    text: str
    path: Path
    line: int

    @property
    def at(self) -> str:
        """The place of the line in messages."""
        return f"{self.path}, line {self.line}"


@dataclass(frozen=True)
class ListedImages:
    """The images of a split in the order of its list."""

    files: tuple[str, ...]  # relative to the folder of the data set
    targets: Targets
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedFolder:
    """The folder of a data set, with the facts that all of its splits have in common."""

    base: Path  # contains the images and the lists
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    name: str  # of the origin
    path: Path  # of the origin; it differs between data sets in one folder
    licence: str = ""

    def dataset(self, split: str, listed: ListedImages, location: DataLocation) -> FolderDataset:
        """Return the data set of one split."""
        return FolderDataset(
            root=self.base,
            base=self.base.resolve(),
            files=listed.files,
            targets=listed.targets,
            classes=self.classes,
            splits=self.splits,
            split=split,
            origin=Origin(self.name, str(self.path.resolve()), "published", self.licence, listed.notes),
            digests=open_digests(location.store),
            max_pixels=location.max_pixels,
        )


def published_root(location: DataLocation, name: str, url: str) -> Path:
    """Return the folder that the user gave, or the folder `name` in the store. Raise `UserError` if it is missing."""
    if location.path is not None:
        return check_root(location.path)
    root = location.store.folder / name
    if not root.is_dir():
        raise UserError(
            f"{name} is not in the store; download it from {url}, unpack it, and give its folder as --data, or make "
            f"{root} a link to that folder"
        )
    return root


def read_list(path: Path, cells: int, archive: str) -> dict[str, ListEntry]:
    """Return the lines of a text file, keyed by the first of their `cells` cells (one or two), which must be unique.

    If the file is missing or a line is invalid, raise a `UserError` that says which `archive` contains the file.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; unpack {archive} again, or give the folder that contains the file")
    entries: dict[str, ListEntry] = {}
    for line, text in enumerate(text_of(path, "UTF-8").splitlines(), 1):
        words = text.split(maxsplit=1)
        if not words:
            continue
        key, entry = words[0], ListEntry(words[-1].strip(), path, line)
        if len(words) != cells:
            expected = "one name" if cells == 1 else "a name or number, a space, and a value"
            raise UserError(f"{entry.at}: {text.strip()!r} is not {expected}; replace the file with that in {archive}")
        if key in entries:
            raise UserError(f"{entry.at}: {key} is already in {entries[key].at}; keep one of the two lines")
        entries[key] = entry
    if not entries:
        raise UserError(f"{path} is empty; replace it with that in {archive}")
    return entries


def check_same_keys(first: Mapping[str, ListEntry], second: Mapping[str, ListEntry], path: Path, archive: str) -> None:
    """Raise `UserError` unless both lists have the same keys. `second` was read from `path`."""
    for key, entry in first.items():
        if key not in second:
            raise UserError(
                f"{path} has no line for {key}, which is in {entry.at}; replace both with those in {archive}"
            )
    for key, entry in second.items():
        if key not in first:
            other = next(iter(first.values())).path
            raise UserError(f"{entry.at}: {key} is not in {other}; replace both files with those in {archive}")


def check_disjoint(splits: Mapping[str, Mapping[str, ListEntry]]) -> None:
    """Raise `UserError` if two splits list the same image."""
    seen: dict[str, ListEntry] = {}
    for entries in splits.values():
        for key, entry in entries.items():
            if key in seen:
                raise UserError(f"{entry.at}: {key} is also in {seen[key].at}; remove one, as no image has two splits")
            seen[key] = entry


def match_images(
    base: Path, folder: str, files: Sequence[str], listed: Collection[str], source: Path, archive: str
) -> tuple[str, ...]:
    """Raise `UserError` if one of the `files` is missing in `base / folder`. Return notes on other files there.

    `source` is the list that contains `files`, `archive` contains the images, and `listed` has those of all splits.
    """
    if not (base / folder).is_dir():
        raise UserError(f"{base / folder} does not exist; unpack {archive} there")
    walk = Walk(base)
    found = set(walk.images(folder))
    missing = [file for file in files if file not in found]
    if missing:
        count = f"{len(missing):,} of the {len(files):,} images in {source}"
        raise UserError(
            f"{base / folder} is incomplete: {count} are missing, such as {base / missing[0]}; unpack {archive} again"
        )
    extra = sorted(found.difference(listed))
    notes = [f"ignored {len(extra):,} images that are in no list: {list_names(extra, 3)}"] if extra else []
    return (*notes, *walk.notes())


def label_notes(marked: Iterable[tuple[int, int]], difficult: str) -> Iterator[str]:
    """Yield notes on images without labels and on labels that are not judged.

    `marked` has the numbers of present and of unjudged classes of each image; `difficult` says what these are.
    """
    counts = list(marked)
    empty = sum(not present for present, _ in counts)
    if empty:
        yield f"{empty:,} of {len(counts):,} images have no label"
    unjudged = sum(unjudged for _, unjudged in counts)
    if unjudged:
        yield f"{unjudged:,} labels {difficult} and count neither as right nor as wrong"
