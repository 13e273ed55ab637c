"""The user's own images: a folder with one folder per class, with or without its own train, validation and test parts.

    tree/cat/1.jpg  tree/dog/2.jpg                    split per class by a hash of (split seed, name)
    tree/train/cat/1.jpg  tree/test/dog/2.jpg         the tree's own split; also val, valid or validation

Nothing in the tree is ever written to.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from imclass.core.classes import check_classes
from imclass.core.contracts import Image, Origin
from imclass.core.errors import BadImage, UserError
from imclass.core.text import listed, nearest
from imclass.data.images.decode import decode, read
from imclass.data.source import Place, Source
from imclass.data.subset import composed, lowest_ranked

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
READ = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp")
REFUSED = ("tif", "tiff", "heic", "heif", "avif")  # images all the same: refused by name rather than passed over
LITTER = ("__macosx", "thumbs.db", "desktop.ini")


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
        """SHA-256 over the sorted names and contents of this split; a file that cannot be read counts by why."""
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
    """A walk through a tree, and what it passed over, relative to the tree's root."""

    root: Path
    hidden: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)  # of the class folders
    other: list[str] = field(default_factory=list)  # files that are no images by name
    loops: list[str] = field(default_factory=list)  # links to a folder that they lie in

    def folders(self, relative: str) -> list[str]:
        """Names of the folders in `relative`; files beside them are noted."""
        inside = entries(self.root / relative)
        self.hidden += [join(relative, entry.name) for entry in inside if is_hidden(entry.name)]
        seen = [entry for entry in inside if not is_hidden(entry.name)]
        self.outside += [join(relative, entry.name) for entry in seen if not is_folder(entry)]
        return [entry.name for entry in seen if is_folder(entry)]

    def images(self, relative: str, above: tuple[str, ...]) -> Iterator[str]:
        """Every image in the folder `relative` and the folders in it; links are followed, loops are not."""
        here = os.path.realpath(self.root / relative)
        if here in above:
            self.loops.append(relative)
            return
        for entry in entries(self.root / relative):
            path = join(relative, entry.name)
            if is_hidden(entry.name):
                self.hidden.append(path)
            elif is_folder(entry):
                yield from self.images(path, (*above, here))
            elif is_image(Path(entry.name)):
                yield path
            else:
                self.other.append(path)

    def part(self, relative: str, classes: Sequence[str]) -> "Part":
        """The images of each class folder in `relative`."""
        above = (os.path.realpath(self.root), os.path.realpath(self.root / relative))
        return Part(relative, {name: tuple(self.images(join(relative, name), above)) for name in sorted(classes)})

    def notes(self) -> tuple[str, ...]:
        """A sentence for each kind of thing that was passed over, with the first few names."""
        kinds = (
            ("hidden files or folders", self.hidden),
            ("files or folders outside the class folders", self.outside),
            ("files that are no images by name", self.other),
            ("links to a folder that they lie in", self.loops),
        )
        return tuple(f"ignored {len(names):,} {what}: {listed(names, 3)}" for what, names in kinds if names)


@dataclass(frozen=True)
class Part:
    """A part of a tree: its folder ("" for the whole tree) and each class's files, relative to the tree's root."""

    folder: str
    files: Mapping[str, tuple[str, ...]]

    @property
    def missing(self) -> list[str]:
        """Classes without images."""
        return [name for name, files in self.files.items() if not files]


@dataclass(frozen=True)
class Tree:
    """A tree of images taken apart: `parts` by split, and how that came about."""

    parts: Mapping[str, Part]
    rule: str
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of training, sorted."""
        return tuple(self.parts["train"].files)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over: dot files, and what systems leave behind."""
    return name.startswith(".") or name.casefold() in LITTER


def is_image(path: Path) -> bool:
    """Whether a file is an image by the end of its name."""
    return path.suffix[1:].lower() in READ + REFUSED


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder or a link to one; a link that leads nowhere is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def join(folder: str, name: str) -> str:
    """A path relative to the root, where "" is the root itself."""
    return f"{folder}/{name}" if folder else name


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted; one that cannot be read is a `UserError`."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}; change its permissions or move it away") from None


def open_folder(place: Place, split: str) -> FolderDataset:
    """One split of the tree at `place.path`; "all" is every image of a tree that has no parts of its own.

    Ids are positions in the sorted listing of the whole tree. Mistakes are `UserError`s that name the path.
    """
    root = checked_root(place.path)
    scan = Scan(root)
    folders = scan.folders("")
    tree = own_parts(scan, folders) if has_parts(root, folders) else by_hash(scan, folders, place)
    splits = tuple(name for name in tree.parts if name != "all")
    if split not in tree.parts:
        raise UserError(f"{root} has no split {split!r}{nearest(split, splits)}")
    every = {file for part in tree.parts.values() for files in part.files.values() for file in files}
    position = {file: i for i, file in enumerate(sorted(every, key=lambda file: (composed(file), file)))}
    label = {file: k for k, name in enumerate(tree.classes) for file in tree.parts[split].files.get(name, ())}
    taken = sorted(label, key=lambda file: position[file])
    return FolderDataset(
        root=root,
        files=tuple(taken),
        labels=np.array([label[file] for file in taken], np.int64),
        ids=np.array([position[file] for file in taken], np.int64),
        classes=tree.classes,
        splits=splits,
        split=split,
        origin=Origin(root.name, str(root.resolve()), tree.rule, notes=tree.notes),
    )


def checked_root(path: Path | None) -> Path:
    """The tree's root; what is not a folder is a `UserError` with the nearest name beside it."""
    if path is None:
        raise UserError("'folder' is read from a path; give the folder's own path as --data")
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{path} is a file; a folder with one folder per class is wanted")
    beside = [entry.name for entry in entries(path.parent) if is_folder(entry)] if path.parent.is_dir() else []
    raise UserError(f"there is no folder {path}{nearest(path.name, beside)}")


def has_parts(root: Path, folders: Sequence[str]) -> bool:
    """Whether the tree has its own train folder, and that is not just the name of a class."""
    named = [name for name in folders if name.lower() in PARTS]
    if len(named) == len(folders):
        return bool(named)
    train = [name for name in named if name.lower() == "train"]
    return any(is_folder(entry) and not is_hidden(entry.name) for name in train for entry in entries(root / name))


def own_parts(scan: Scan, folders: Sequence[str]) -> Tree:
    """A tree that has parts of its own; further folders beside them are left out, and parts without labelled images."""
    scan.outside += [f"{name}/" for name in folders if name.lower() not in PARTS]
    parts: dict[str, Part] = {}
    for name in sorted((n for n in folders if n.lower() in PARTS), key=lambda n: list(PARTS).index(n.lower())):
        split = PARTS[name.lower()]
        if split in parts:
            raise UserError(f"{scan.root} has two {split} folders, {parts[split].folder!r} and {name!r}; keep one")
        part = scan.part(name, scan.folders(name))
        if split == "train":
            check_training(part, scan.root)
        if any(part.files.values()):
            parts[split] = part
        else:
            scan.outside.append(f"{name}/ (no class folders with images)")
    if "train" not in parts:
        found = listed(sorted(folders))
        raise UserError(f"{scan.root} has no folder 'train' beside {found}; name the training part 'train'")
    check_same_classes(parts, scan.root)
    known = tuple(parts["train"].files)
    lacks = {split: [n for n in known if not part.files.get(n)] for split, part in parts.items()}
    notes = [f"{split} has no images of {listed(names)}" for split, names in lacks.items() if names]
    return Tree(parts, "folders", (*notes, *scan.notes()))


def check_training(part: Part, root: Path) -> None:
    """Training images can be told apart by class folders; otherwise a `UserError`."""
    folder = root / part.folder
    if not part.files:
        if any(is_image(Path(entry.name)) for entry in entries(folder)):
            raise UserError(f"the images lie directly in {folder}; put each into a folder named after its class")
        raise UserError(f"{folder} has no class folders; make one folder per class and put its images into it")
    check_classes([composed(name) for name in part.files], str(folder))
    if part.missing:
        raise UserError(f"no images in the class folders {listed(part.missing)} of {folder}; fill or remove them")


def check_same_classes(parts: Mapping[str, Part], root: Path) -> None:
    """Every class to be scored can be learnt; otherwise a `UserError` with the nearest class of training."""
    train = parts["train"]
    for part in parts.values():
        for name in part.files:
            if name not in train.files:
                where = f"{root / part.folder / name} is a class that {root / train.folder} lacks"
                raise UserError(f"{where}{nearest(name, train.files)}; rename or remove it, or add training images")


def by_hash(scan: Scan, folders: Sequence[str], place: Place) -> Tree:
    """A tree without parts, split into train and test by names; "all" is both."""
    whole = scan.part("", folders)
    check_training(whole, scan.root)
    seed, share = place.split_seed, place.split.test
    test = held_out(whole.files, seed, share)
    out = {file for files in test.values() for file in files}
    train = {name: tuple(file for file in files if file not in out) for name, files in whole.files.items()}
    parts = {"train": Part("", train), "test": Part("", test), "all": whole}
    return Tree(parts, f"hash {100 * (1 - share):g}/{100 * share:g}, seed {seed}", scan.notes())


def held_out(files: Mapping[str, tuple[str, ...]], seed: int, share: float) -> dict[str, tuple[str, ...]]:
    """Return of each class the share whose hashes of (seed, name) are lowest."""
    return {name: tuple(own[i] for i in lowest_ranked(own, seed, share)) for name, own in files.items()}


DATASETS = {
    "folder": Source(
        open_folder, "your own images: give the path of a folder with one folder per class", ("train", "test")
    )
}
