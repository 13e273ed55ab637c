"""The user's own images: one folder per class. The class folders may be inside train, validation and test folders.

    tree/cat/1.jpg  tree/dog/2.jpg                    split class by class, by a hash of (split seed, name)
    tree/train/cat/1.jpg  tree/test/dog/2.jpg         split by its folders; also val, dev, Training, test_set ...

Nothing is ever written to the tree. Class names are converted to Unicode NFC.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt64

from imclass.core.classes import check_distinct
from imclass.core.contracts import Image, Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf, Targets
from imclass.core.text import list_names, nfc_form, suggestion
from imclass.data.contents import contents_of_files, digest_of
from imclass.data.images.decode import decode
from imclass.data.names import (
    IMAGE_SUFFIXES,
    SPLITS,
    count_suffixes,
    ids_of,
    is_hidden,
    is_image,
    is_split_like,
    is_url,
    split_of,
)
from imclass.data.source import ALL_IMAGES, DataLocation, DatasetEntry, LazySplits
from imclass.data.subset import lowest_ranked
from imclass.data.walk import Walk, is_folder, is_run, join_path, list_folder
from imclass.store.digests import Digests, open_digests

RUNS_FOLDER = "runs"  # where training writes by default


@dataclass(frozen=True, eq=False)
class FolderDataset:
    """An implementation of `Dataset` for one split of a tree of image files."""

    root: Path  # as the user gave it, for messages
    base: Path  # `root` as an absolute path, which stays valid if the working folder changes
    files: tuple[str, ...]  # paths relative to the root, with slashes
    targets: Targets
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: str
    origin: Origin
    digests: Digests
    max_pixels: int | None = None  # the largest image to decode; None: the default of `decode`
    array: None = None

    @cached_property
    def ids(self) -> Int64[np.ndarray, "N"]:
        """The id of each image: a hash of its name."""
        return ids_of(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Image:
        file = self.files[i]
        return decode(self.base / file, str(self.root / file), self.max_pixels)

    def name(self, i: int) -> str:
        """Return the file's path relative to the tree's root."""
        return self.files[i]

    @cached_property
    def hashes(self) -> UInt64[np.ndarray, "N"]:
        """The first 64 bits of the SHA-256 of each file."""
        return contents_of_files((os.path.join(self.base, file) for file in self.files), self.digests)

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return the first 64 bits of each file's SHA-256. The first call reads files whose digest is not stored."""
        return self.hashes

    def digest(self) -> str:
        """Return the SHA-256 of all names, classes and content hashes."""
        return digest_of(self)


@dataclass(frozen=True)
class TreePart:
    """A part of a tree, such as its train folder."""

    folder: str  # relative to the tree's root; "" for the whole tree
    files: Mapping[str, tuple[str, ...]]  # paths relative to the tree's root, keyed by class

    @property
    def empty_classes(self) -> list[str]:
        """The classes without images."""
        return [name for name, files in self.files.items() if not files]


@dataclass(frozen=True)
class Tree:
    """A tree of images, divided into splits."""

    parts: Mapping[str, TreePart]  # keyed by split
    rule: str  # how the tree was divided, as in `Origin`
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the train split, sorted."""
        return tuple(self.parts["train"].files)


def open_folder(location: DataLocation) -> LazySplits:
    """Walk through the tree at `location.path` once, and return its splits. Their images are sorted by name.

    A tree without a train folder is split by a hash, and also has the split "all", which contains every image. If the
    tree contains a mistake, raise a `UserError` that names the path.
    """
    root = check_root(location.path)
    walk = Walk(root)
    folders = walk.folders("")
    tree = split_by_folders(walk, folders) if has_parts(root, folders) else split_by_hash(walk, folders, location)
    return LazySplits(tuple(tree.parts), partial(open_tree_split, root, tree, location))


def open_tree_split(root: Path, tree: Tree, location: DataLocation, split: str) -> FolderDataset:
    """Return one split of a tree."""
    labels = {file: k for k, name in enumerate(tree.classes) for file in tree.parts[split].files.get(name, ())}
    files = sorted(labels, key=lambda file: (nfc_form(file), file))
    return FolderDataset(
        root=root,
        base=root.resolve(),
        files=tuple(files),
        targets=OneOf(np.array([labels[file] for file in files], np.int64)),
        classes=tree.classes,
        splits=tuple(name for name in tree.parts if name != ALL_IMAGES),
        split=split,
        origin=Origin(
            root.name, str(root.resolve()), tree.rule, notes=tree.notes, has_splits=ALL_IMAGES not in tree.parts
        ),
        digests=open_digests(location.store),
        max_pixels=location.max_pixels,
    )


def check_root(path: Path | None) -> Path:
    """Return the tree's root. If it is not a folder of images, raise `UserError`.

    If the folder does not exist, the message suggests the nearest name in its parent folder.
    """
    if path is None:
        raise UserError("'folder' is a kind of data, not a path; give the path of the folder as --data")
    if path.is_dir():
        if is_run(path):
            raise UserError(
                f"{path} is a run of imclass, not a folder of images; give the path of your images as --data"
            )
        return path
    if path.exists():
        raise UserError(f"{path} is a file; unpack it if it is an archive, and give a folder with one folder per class")
    if is_url(str(path)):
        raise UserError(f"--data {path} is a URL; save the images in a folder with one folder per class")
    siblings = [entry.name for entry in list_folder(path.parent) if is_folder(entry)] if path.parent.is_dir() else []
    raise UserError(f"the folder {path} does not exist{suggestion(path.name, siblings)}")


def has_parts(root: Path, folders: Sequence[str]) -> bool:
    """Return whether the tree has split folders, rather than classes with names such as "train"."""
    named = [name for name in folders if split_of(name)]
    if len(named) == len(folders):
        return bool(named)
    # Next to folders with other names, "train" may be a class of trains. If it contains folders, it is a split
    # and these are its classes.
    train = [name for name in named if split_of(name) == "train"]
    return any(is_folder(entry) and not is_hidden(entry.name) for name in train for entry in list_folder(root / name))


def read_part(walk: Walk, relative: str, folders: Sequence[str]) -> TreePart:
    """Return the images in each class folder in `relative`. A folder that contains only runs is not a class.

    Raise `UserError` if two folder names mean the same class, or if a folder contains both images and runs. In the
    latter case, the user's photos cannot be distinguished from pictures that belong to a run.
    """
    check_distinct(folders, str(walk.root / relative))
    above = (os.path.realpath(walk.root), os.path.realpath(walk.root / relative))
    files = {}
    for name in sorted(folders, key=nfc_form):
        path = join_path(relative, name)
        images = tuple(walk.images(path, above))
        runs = walk.runs_in(path)
        if not runs:
            files[nfc_form(name)] = images
        elif images and name != RUNS_FOLDER:
            raise UserError(
                f"{walk.root / path} contains images and the run {walk.root / runs[0]}; move the run elsewhere"
            )
    return TreePart(relative, files)


def split_by_folders(walk: Walk, folders: Sequence[str]) -> Tree:
    """Return a tree that is divided into splits by its train, validation and test folders.

    Other folders are left out, and so are split folders without images in class folders.
    """
    walk.outside += [f"{name}/" for name in folders if not split_of(name)]
    parts: dict[str, TreePart] = {}
    for split, name in sorted(((s, n) for n in folders if (s := split_of(n))), key=lambda p: SPLITS.index(p[0])):
        if split in parts:
            raise UserError(f"{walk.root} has two {split} folders, {parts[split].folder!r} and {name!r}; keep one")
        part = read_part(walk, *part_folders(walk, name, split))
        if split == "train":
            check_training(part, walk)
        if any(part.files.values()):
            parts[split] = part
        else:
            walk.outside.append(f"{name}/ (no class folders with images)")
    if "train" not in parts:
        names = list_names(sorted(folders))
        raise UserError(
            f"{walk.root} has the folders {names} but no 'train'; rename the folder of training images to 'train'"
        )
    check_same_classes(parts, walk.root)
    return Tree(parts, "folders", (*missing_notes(parts), *walk.notes()))


def part_folders(walk: Walk, name: str, split: str) -> tuple[str, list[str]]:
    """Return a part's folder and the names of its class folders.

    The part's folder may be nested, as in "train/train", because archives often repeat a name.
    """
    folders = walk.folders(name)
    if len(folders) == 1 and split_of(folders[0]) == split:
        return join_path(name, folders[0]), walk.folders(join_path(name, folders[0]))
    return name, folders


def missing_notes(parts: Mapping[str, TreePart]) -> list[str]:
    """Return a note for each part that has no images of some classes."""
    missing = {split: [n for n in parts["train"].files if not part.files.get(n)] for split, part in parts.items()}
    return [f"{split} has no images of {list_names(names)}" for split, names in missing.items() if names]


def check_training(part: TreePart, walk: Walk) -> None:
    """Raise `UserError` unless the training part has class folders and each of them has images."""
    folder = walk.root / part.folder
    if not part.files:
        if any(is_image(entry.name) for entry in list_folder(folder)):
            raise UserError(f"the images are directly in {folder}; move each into a folder named after its class")
        raise UserError(f"{folder} has no class folders; create one folder per class, and move the images into them")
    if empty := part.empty_classes:
        others = [file.removeprefix(part.folder).lstrip("/").split("/") for file in walk.other]
        counts = count_suffixes(names[-1] for names in others if nfc_form(names[0]) in empty)
        why = f", only other files ({counts}); the extensions of images are {', '.join(IMAGE_SUFFIXES)}"
        raise UserError(
            f"the class folders {list_names(empty)} in {folder} have no images{why if counts else ''}; "
            "add images, or remove these folders"
        )


def check_same_classes(parts: Mapping[str, TreePart], root: Path) -> None:
    """Raise `UserError` if a part has a class that train lacks. The message suggests the nearest class in train."""
    train = parts["train"]
    for part in parts.values():
        for name in part.files:
            if name not in train.files:
                problem = f"{root / part.folder / name} is a class that is not in {root / train.folder}"
                fix = "rename or remove the folder, or add training images"
                raise UserError(f"{problem}{suggestion(name, train.files)}; {fix}")


def check_not_splits(part: TreePart, root: Path) -> None:
    """Raise `UserError` if two class folders are really splits.

    Such folders have at least two subfolder names in common. Either both are named like splits, or one has the name of
    a split.
    """
    inside = {name: {n for file in files for n in file.split("/")[1:-1]} for name, files in part.files.items()}
    for first, second in itertools.combinations(inside, 2):
        like = [name for name in (first, second) if is_split_like(name)]
        shared = sorted(inside[first] & inside[second])
        if len(shared) > 1 and (len(like) == 2 or any(map(split_of, like))):
            named = "which are named like splits" if len(like) == 2 else f"of which {like[0]!r} is named like a split,"
            raise UserError(
                f"{root} has the folders {first!r} and {second!r}, {named} and both contain "
                f"{list_names(shared, 3)}; call them 'train' and 'test' (links will do), or rename them if they are "
                "classes"
            )


def split_by_hash(walk: Walk, folders: Sequence[str], location: DataLocation) -> Tree:
    """Split a tree without split folders into train and test by a hash of names. The split "all" contains both."""
    everything = read_part(walk, "", folders)
    check_not_splits(everything, walk.root)
    check_training(everything, walk)
    seed, share = location.split_seed, location.split.test
    test = hold_out(everything.files, seed, share)
    held_out = {file for files in test.values() for file in files}
    train = {name: tuple(file for file in files if file not in held_out) for name, files in everything.files.items()}
    parts = {"train": TreePart("", train), "test": TreePart("", test), ALL_IMAGES: everything}
    notes = (*missing_notes(parts), *walk.notes())
    return Tree(parts, location.split.text(seed), notes)


def hold_out(classes: Mapping[str, tuple[str, ...]], seed: int, share: float) -> dict[str, tuple[str, ...]]:
    """Return the held-out files of each class: the fraction `share` with the lowest hashes of (seed, name)."""
    return {name: tuple(files[i] for i in lowest_ranked(files, seed, share)) for name, files in classes.items()}


DATASETS = {
    "folder": DatasetEntry(
        open_folder, "your own images: give the path of a folder with one folder per class", ("train", "test")
    )
}
