"""The user's own images: a folder with one folder per class, with or without its own train, validation and test parts.

    tree/cat/1.jpg  tree/dog/2.jpg                    split per class by a hash of (seed, name), 80/20
    tree/train/cat/1.jpg  tree/test/dog/2.jpg         the tree's own split; also val, valid or validation

Nothing in the tree is ever written to.
"""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from imclass.core.classes import check_classes, listed
from imclass.core.contracts import Image, Origin, Place, Source
from imclass.core.errors import BadImage, UserError, nearest
from imclass.data.images import decode, read

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
READ = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp")
REFUSED = ("tif", "tiff", "heic", "heif", "avif")  # images all the same: refused by name rather than passed over
LITTER = ("__macosx", "thumbs.db", "desktop.ini")
HELD_OUT = 0.2


@dataclass(frozen=True, eq=False)
class FolderDataset:
    """One split of a tree of image files; a `Dataset`."""

    root: Path
    files: tuple[str, ...]  # relative to the root, with slashes
    labels: Int64[np.ndarray, "N"]
    ids: Int64[np.ndarray, "N"]
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: str
    origin: Origin
    array: None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Image, int]:
        return decode(self.root / self.files[i]), int(self.labels[i])

    def name(self, i: int) -> str:
        """The file's path relative to the tree's root."""
        return self.files[i]

    def digest(self) -> str:
        """SHA-256 over the sorted names and the contents of this split; an unreadable file counts by its name alone."""
        total = hashlib.sha256()
        for file in sorted(self.files):
            try:
                content = hashlib.sha256(read(self.root / file)).hexdigest()
            except BadImage as refused:
                content = refused.code
            total.update(f"{file}\0{content}\n".encode("utf-8", "surrogateescape"))
        return total.hexdigest()


@dataclass
class Scan:
    """What a walk through a tree has met, all relative to its root."""

    images: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)  # files that are no images by name
    loops: list[str] = field(default_factory=list)  # links to a folder that they lie in

    def walk(self, root: Path, relative: str, above: tuple[str, ...] = ()) -> None:
        """Take in the folder `relative`, links followed, loops not."""
        here = os.path.realpath(root / relative)
        if here in above:
            self.loops.append(relative)
            return
        for entry in entries(root / relative):
            path = f"{relative}/{entry.name}"
            if is_hidden(entry.name):
                self.hidden.append(path)
            elif entry.is_dir():
                self.walk(root, path, (*above, here))
            else:
                (self.images if is_image(Path(entry.name)) else self.other).append(path)


@dataclass(frozen=True)
class Labelled:
    """Files of one part of a tree with their class names; `part` is "" where the tree has no parts."""

    part: str
    classes: tuple[str, ...]
    files: dict[str, str]  # relative path to class


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over: dot files, and what systems leave behind."""
    return name.startswith(".") or name.casefold() in LITTER


def is_image(path: Path) -> bool:
    """Whether a file is an image by the end of its name."""
    return path.suffix[1:].lower() in READ + REFUSED


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted; one that cannot be read is a `UserError`."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}; change its permissions or move it away") from None


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), so that a tree copied between systems is split the same way."""
    return unicodedata.normalize("NFC", name)


def open_folder(place: Place, split: str) -> FolderDataset:
    """One split of the tree at `place.path`; "all" is every image of a tree that has no parts of its own.

    Ids are positions in the sorted listing of the whole tree. Mistakes are `UserError`s that name the path.
    """
    root = checked_root(place.path)
    tops = [entry for entry in entries(root) if not is_hidden(entry.name)]
    folders = [entry.name for entry in tops if entry.is_dir()]
    scan = Scan(hidden=[entry.name for entry in entries(root) if is_hidden(entry.name)])
    stray = [entry.name for entry in tops if not entry.is_dir()]
    if has_parts(root, folders):
        parts = own_parts(root, folders, scan, stray)
        splits, rule = tuple(parts), "folders"
        chosen = {name: {f: c for f, c in part.files.items()} for name, part in parts.items()}
        classes, unlabelled = parts["train"].classes, missing_classes(parts)
    else:
        whole = labelled(root, "", folders, scan)
        check_part(whole, root, stray)
        classes, splits, unlabelled = whole.classes, ("train", "test"), []
        rule = f"hash 80/20, seed {place.seed}"
        chosen = {**by_hash(whole.files, place.seed), "all": whole.files}
    if split not in chosen:
        raise UserError(f"{root} has no split {split!r}{nearest(split, splits)}")
    notes = (*unlabelled, *ignored(scan, stray))
    return assemble(root, chosen, split, classes, Origin(root.name, str(root.resolve()), rule, "", notes), splits)


def assemble(
    root: Path,
    chosen: dict[str, dict[str, str]],
    split: str,
    classes: tuple[str, ...],
    origin: Origin,
    splits: tuple[str, ...],
) -> FolderDataset:
    """The data set of one split of `chosen` (split to file to class)."""
    listing = sorted({file for files in chosen.values() for file in files}, key=lambda file: (composed(file), file))
    of_class = {name: k for k, name in enumerate(classes)}
    taken = [(i, file) for i, file in enumerate(listing) if file in chosen[split]]
    return FolderDataset(
        root=root,
        files=tuple(file for _, file in taken),
        labels=np.array([of_class[chosen[split][file]] for _, file in taken], np.int64),
        ids=np.array([i for i, _ in taken], np.int64),
        classes=classes,
        splits=splits,
        split=split,
        origin=origin,
    )


def checked_root(path: Path | None) -> Path:
    """The tree's root; what is not a folder is a `UserError` with the nearest name beside it."""
    if path is None:
        raise UserError("'folder' is read from a path; give the folder's own path as --data")
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{path} is a file; a folder with one folder per class is wanted")
    beside = [entry.name for entry in entries(path.parent)] if path.parent.is_dir() else []
    close = nearest(path.name, beside) if len(beside) > 0 else ""
    raise UserError(f"there is no folder {path}{close}")


def has_parts(root: Path, folders: Sequence[str]) -> bool:
    """Whether the tree has its own train folder, and that is not just the name of a class."""
    if not any(name.lower() in PARTS for name in folders):
        return False
    if all(name.lower() in PARTS for name in folders):
        return True
    train = [name for name in folders if name.lower() == "train"]
    return any(entry.is_dir() and not is_hidden(entry.name) for name in train for entry in entries(root / name))


def own_parts(root: Path, folders: Sequence[str], scan: Scan, stray: list[str]) -> dict[str, Labelled]:
    """The parts of a tree that has its own, training first; further folders beside them are left out."""
    parts: dict[str, Labelled] = {}
    for name in sorted(folders, key=lambda name: list(PARTS).index(name.lower()) if name.lower() in PARTS else -1):
        if name.lower() not in PARTS:
            stray.append(f"{name}/")
            continue
        split = PARTS[name.lower()]
        if split in parts:
            raise UserError(f"{root} has two {split} folders, {parts[split].part!r} and {name!r}; keep one")
        inside = entries(root / name)
        classes = [entry.name for entry in inside if entry.is_dir() and not is_hidden(entry.name)]
        scan.hidden += [f"{name}/{entry.name}" for entry in inside if is_hidden(entry.name)]
        loose = [entry.name for entry in inside if not entry.is_dir() and not is_hidden(entry.name)]
        parts[split] = labelled(root, name, classes, scan)
        if split == "train":
            check_part(parts[split], root / name, loose)
        stray += [f"{name}/{file}" for file in loose]
    if "train" not in parts:
        raise UserError(
            f"{root} has no folder 'train' beside {listed(sorted(folders))}; name the training part 'train'"
        )
    check_same_classes(parts, root)
    return parts


def labelled(root: Path, part: str, classes: Sequence[str], scan: Scan) -> Labelled:
    """The images in each class folder of a part, whatever folders they lie in within it."""
    files: dict[str, str] = {}
    for name in classes:
        before = len(scan.images)
        scan.walk(root, f"{part}/{name}" if part else name)
        files.update(dict.fromkeys(scan.images[before:], name))
    return Labelled(part, tuple(sorted(classes)), files)


def check_part(part: Labelled, folder: Path, loose: Sequence[str]) -> None:
    """Training images can be told apart by class folders; otherwise a `UserError`."""
    if not part.classes:
        if any(is_image(Path(name)) for name in loose):
            raise UserError(f"the images lie directly in {folder}; put each into a folder named after its class")
        raise UserError(f"{folder} has no class folders; make one folder per class and put its images into it")
    check_classes(part.classes, str(folder))
    empty = sorted(set(part.classes) - set(part.files.values()))
    if empty:
        raise UserError(f"no images in the class folders {listed(empty)} of {folder}; fill or remove them")


def check_same_classes(parts: dict[str, Labelled], root: Path) -> None:
    """Every class to be scored can be learnt; otherwise a `UserError` with the nearest class of training."""
    known = parts["train"].classes
    for part in parts.values():
        for name in part.classes:
            if name not in known:
                where = f"{root / part.part / name} is a class that {root / parts['train'].part} lacks"
                raise UserError(f"{where}{nearest(name, known)}; rename or remove it, or add training images")


def missing_classes(parts: dict[str, Labelled]) -> list[str]:
    """A note for each held-out part that has no images of some class."""
    known = parts["train"].classes
    absent = {split: [c for c in known if c not in set(part.files.values())] for split, part in parts.items()}
    return [f"{split} has no images of {listed(names)}" for split, names in absent.items() if names]


def by_hash(files: dict[str, str], seed: int) -> dict[str, dict[str, str]]:
    """Train and test of a tree without parts: of each class the fifth whose hashes are lowest is held out.

    At least one image is, where a class has two. Names, not positions, decide: adding images moves few others.
    """
    held: set[str] = set()
    for name in set(files.values()):
        own = sorted((f for f, c in files.items() if c == name), key=lambda file: rank(file, seed))
        held.update(own[: max(1, round(HELD_OUT * len(own))) if len(own) > 1 else 0])
    return {
        "train": {f: c for f, c in files.items() if f not in held},
        "test": {f: c for f, c in files.items() if f in held},
    }


def rank(file: str, seed: int) -> bytes:
    """Where a file stands in its class's order: a hash of seed and name."""
    return hashlib.sha256(f"{seed}\n{composed(file)}".encode("utf-8", "surrogateescape")).digest()


def ignored(scan: Scan, stray: Sequence[str]) -> list[str]:
    """A note for each kind of thing that was passed over, with the first few names."""
    kinds = (
        ("hidden files or folders", scan.hidden),
        ("files or folders outside the class folders", stray),
        ("files that are no images by name", scan.other),
        ("links to a folder that they lie in", scan.loops),
    )
    return [f"ignored {len(names):,} {what}: {listed(names, 3)}" for what, names in kinds if names]


DATASETS = {
    "folder": Source(
        open_folder, "your own images: give the path of a folder with one folder per class", ("train", "test")
    )
}
