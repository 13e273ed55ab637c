"""The user's own images: a folder with one folder per class, with or without its own train, validation and test parts.

    tree/cat/1.jpg  tree/dog/2.jpg                    split per class by a hash of (split seed, name)
    tree/train/cat/1.jpg  tree/test/dog/2.jpg         the tree's own split; also val, dev, Training, test_set ...

Nothing in the tree is ever written to. Class names are in Unicode's composed form.
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
    is_address,
    is_hidden,
    is_image,
    is_split_like,
    split_of,
)
from imclass.data.source import ALL_IMAGES, DataLocation, DatasetEntry, LazySplits
from imclass.data.subset import lowest_ranked
from imclass.data.walk import Walk, is_folder, is_run, join_path, list_folder
from imclass.store.digests import Digests, open_digests

RUNS_FOLDER = "runs"  # where training writes unless it is given a folder


@dataclass(frozen=True, eq=False)
class FolderDataset:
    """One split of a tree of image files; a `Dataset`."""

    root: Path  # as the user gave it, for messages
    base: Path  # the same, whatever the working folder is
    files: tuple[str, ...]  # relative to the root, with slashes
    targets: Targets
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: str
    origin: Origin
    digests: Digests
    most_pixels: int | None = None  # of a file that is decoded
    array: None = None

    @cached_property
    def ids(self) -> Int64[np.ndarray, "N"]:
        """The id of each image: the hash of its name."""
        return ids_of(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Image:
        file = self.files[i]
        return decode(self.base / file, str(self.root / file), self.most_pixels)

    def name(self, i: int) -> str:
        """The file's path relative to the tree's root."""
        return self.files[i]

    @cached_property
    def hashes(self) -> UInt64[np.ndarray, "N"]:
        """64 bits for each file."""
        return contents_of_files([self.base / file for file in self.files], self.digests)

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return 64 bits for each file. At the first call, files without a kept digest are read."""
        return self.hashes

    def digest(self) -> str:
        """Return the SHA-256 over names and contents; one that cannot be read counts by the code of its refusal."""
        return digest_of(self)


@dataclass(frozen=True)
class TreePart:
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

    parts: Mapping[str, TreePart]
    rule: str
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of training, sorted."""
        return tuple(self.parts["train"].files)


def open_folder(location: DataLocation) -> LazySplits:
    """Return the splits of the tree at `location.path`, from one walk; "all" is every image where it has no parts.

    The images are sorted by name. Mistakes are `UserError`s that name the path.
    """
    root = check_root(location.path)
    walk = Walk(root)
    folders = walk.folders("")
    tree = read_parts(walk, folders) if has_parts(root, folders) else split_by_hash(walk, folders, location)
    return LazySplits(tuple(tree.parts), partial(open_tree_split, root, tree, location))


def open_tree_split(root: Path, tree: Tree, location: DataLocation, split: str) -> FolderDataset:
    """Return the images of one part of a tree."""
    label = {file: k for k, name in enumerate(tree.classes) for file in tree.parts[split].files.get(name, ())}
    taken = sorted(label, key=lambda file: (nfc_form(file), file))
    return FolderDataset(
        root=root,
        base=root.resolve(),
        files=tuple(taken),
        targets=OneOf(np.array([label[file] for file in taken], np.int64)),
        classes=tree.classes,
        splits=tuple(name for name in tree.parts if name != ALL_IMAGES),
        split=split,
        origin=Origin(root.name, str(root.resolve()), tree.rule, notes=tree.notes),
        digests=open_digests(location.store),
        most_pixels=location.most_pixels,
    )


def check_root(path: Path | None) -> Path:
    """Return the tree's root; what is not a folder of images is a `UserError`, with the nearest name beside it."""
    if path is None:
        raise UserError("'folder' is read from a path; give the folder's own path as --data")
    if path.is_dir():
        if is_run(path):
            raise UserError(f"{path} is a run of imclass and not a folder of images; give the images' folder as --data")
        return path
    if path.exists():
        raise UserError(f"{path} is a file; a folder with one folder per class is wanted, so unpack an archive first")
    if is_address(str(path)):
        raise UserError(f"--data {path} is an address; save the images in a folder with one folder per class")
    beside = [entry.name for entry in list_folder(path.parent) if is_folder(entry)] if path.parent.is_dir() else []
    raise UserError(f"there is no folder {path}{suggestion(path.name, beside)}")


def has_parts(root: Path, folders: Sequence[str]) -> bool:
    """Whether the tree has its own train folder, and that is not just the name of a class."""
    named = [name for name in folders if split_of(name)]
    if len(named) == len(folders):
        return bool(named)
    train = [name for name in named if split_of(name) == "train"]
    return any(is_folder(entry) and not is_hidden(entry.name) for name in train for entry in list_folder(root / name))


def read_part(walk: Walk, relative: str, folders: Sequence[str]) -> TreePart:
    """Return the images of each class folder in `relative`; one that holds runs and nothing else is not a class.

    Two folders that name one class are a `UserError`, and so are images that lie beside runs: it cannot be known which
    of them are photos and which were drawn.
    """
    check_distinct(folders, str(walk.root / relative))
    above = (os.path.realpath(walk.root), os.path.realpath(walk.root / relative))
    files = {}
    for name in sorted(folders, key=nfc_form):
        path = join_path(relative, name)
        found = tuple(walk.images(path, above))
        runs = walk.runs_in(path)
        if not runs:
            files[nfc_form(name)] = found
        elif found and name != RUNS_FOLDER:
            raise UserError(
                f"{walk.root / path} holds images and the run {walk.root / runs[0]}; move the run elsewhere"
            )
    return TreePart(relative, files)


def read_parts(walk: Walk, folders: Sequence[str]) -> Tree:
    """A tree that has parts of its own; further folders beside them are left out, and parts without labelled images."""
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
        found = list_names(sorted(folders))
        raise UserError(f"{walk.root} has no folder 'train' beside {found}; name the training part 'train'")
    check_same_classes(parts, walk.root)
    return Tree(parts, "folders", (*missing_notes(parts), *walk.notes()))


def part_folders(walk: Walk, name: str, split: str) -> tuple[str, list[str]]:
    """Return a part's folder and its class folders: those of "train/train" where an archive was packed twice."""
    folders = walk.folders(name)
    if len(folders) == 1 and split_of(folders[0]) == split:
        return join_path(name, folders[0]), walk.folders(join_path(name, folders[0]))
    return name, folders


def missing_notes(parts: Mapping[str, TreePart]) -> list[str]:
    """Return a note for each part that has no images of some classes."""
    lacks = {split: [n for n in parts["train"].files if not part.files.get(n)] for split, part in parts.items()}
    return [f"{split} has no images of {list_names(names)}" for split, names in lacks.items() if names]


def check_training(part: TreePart, walk: Walk) -> None:
    """Training images lie in class folders, some in each; otherwise a `UserError`."""
    folder = walk.root / part.folder
    if not part.files:
        if any(is_image(entry.name) for entry in list_folder(folder)):
            raise UserError(f"the images lie directly in {folder}; put each into a folder named after its class")
        raise UserError(f"{folder} has no class folders; make one folder per class and put its images into it")
    if part.missing:
        there = [file.removeprefix(part.folder).lstrip("/").split("/") for file in walk.other]
        other = count_suffixes(names[-1] for names in there if nfc_form(names[0]) in part.missing)
        held = f", only other files ({other}): what is read is {', '.join(IMAGE_SUFFIXES)}" if other else ""
        raise UserError(
            f"no images in the class folders {list_names(part.missing)} of {folder}{held}; fill or remove them"
        )


def check_same_classes(parts: Mapping[str, TreePart], root: Path) -> None:
    """Every class to be scored can be learnt; otherwise a `UserError` with the nearest class of training."""
    train = parts["train"]
    for part in parts.values():
        for name in part.files:
            if name not in train.files:
                where = f"{root / part.folder / name} is a class that {root / train.folder} lacks"
                raise UserError(f"{where}{suggestion(name, train.files)}; rename or remove it, or add training images")


def check_not_splits(whole: TreePart, root: Path) -> None:
    """Folders that are called like splits and hold the same folders are a `UserError`: they are not classes."""
    within = {name: {n for file in files for n in file.split("/")[1:-1]} for name, files in whole.files.items()}
    alike = [name for name in within if is_split_like(name)]
    for one, other in itertools.combinations(alike, 2):
        shared = sorted(within[one] & within[other])
        if len(shared) > 1:
            raise UserError(
                f"{root} has the folders {one!r} and {other!r}, which are called like splits and both hold "
                f"{list_names(shared, 3)}; name them 'train' and 'test' (links will do), or give other names to classes"
            )


def split_by_hash(walk: Walk, folders: Sequence[str], location: DataLocation) -> Tree:
    """A tree without parts, split into train and test by names; "all" is both."""
    whole = read_part(walk, "", folders)
    check_not_splits(whole, walk.root)
    check_training(whole, walk)
    seed, share = location.split_seed, location.split.test
    test = hold_out(whole.files, seed, share)
    out = {file for files in test.values() for file in files}
    train = {name: tuple(file for file in files if file not in out) for name, files in whole.files.items()}
    parts = {"train": TreePart("", train), "test": TreePart("", test), ALL_IMAGES: whole}
    notes = (*missing_notes(parts), *walk.notes())
    return Tree(parts, f"hash {100 * (1 - share):g}/{100 * share:g}, seed {seed}", notes)


def hold_out(files: Mapping[str, tuple[str, ...]], seed: int, share: float) -> dict[str, tuple[str, ...]]:
    """Return of each class the share whose hashes of (seed, name) are lowest."""
    return {name: tuple(own[i] for i in lowest_ranked(own, seed, share)) for name, own in files.items()}


DATASETS = {
    "folder": DatasetEntry(
        open_folder, "your own images: give the path of a folder with one folder per class", ("train", "test")
    )
}
