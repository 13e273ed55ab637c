"""CUB-200-2011 (Wah et al., Caltech-UCSD Birds-200-2011, Caltech technical report CNS-TR-2011-001): 200 kinds of birds.

    CUB_200_2011/images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    CUB_200_2011/classes.txt             number and name of each class
    CUB_200_2011/images.txt              number and file of each image
    CUB_200_2011/image_class_labels.txt  numbers of each image and its class
    CUB_200_2011/train_test_split.txt    number of each image, and 1 for train or 0 for test

Classes have the names of their folders, such as "001.Black_footed_Albatross". Some images are grey. The authors warn
that test images occur in ImageNet, on which published weights were trained.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from imclass.core.classes import check_classes
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.data.sets.folder import FolderDataset
from imclass.data.sets.official import (
    ListedImages,
    ListEntry,
    PublishedFolder,
    check_same_keys,
    match_images,
    published_root,
    read_list,
)
from imclass.data.source import DataLocation, DatasetEntry, LazySplits

BIRDS_NAME = "cub-200-2011"
BIRDS_URL = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
BIRDS_LICENCE = "non-commercial"
BIRDS_ARCHIVE = "CUB_200_2011.tgz"
IN_SPLIT = {"train": "1", "test": "0"}


def birds_folder(root: Path) -> Path:
    """Return the folder CUB_200_2011: `root`, or the folder of that name in it."""
    inner = root / "CUB_200_2011"
    return inner if (inner / "images.txt").is_file() else root


def is_birds(root: Path) -> bool:
    """Return whether a folder contains CUB-200-2011."""
    base = birds_folder(root)
    names = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    return (base / "images").is_dir() and all((base / name).is_file() for name in names)


def open_birds(location: DataLocation) -> LazySplits:
    """Return the splits. The lists are read at once, and images are checked when a split is first used."""
    root = published_root(location, BIRDS_NAME, BIRDS_URL)
    base = birds_folder(root)
    classes = {number: entry.text for number, entry in read_list(base / "classes.txt", 2, BIRDS_ARCHIVE).items()}
    check_classes(tuple(classes.values()), str(base / "classes.txt"))
    shared = PublishedFolder(
        base=base,
        classes=tuple(classes.values()),
        splits=tuple(IN_SPLIT),
        name=base.name if location.path else BIRDS_NAME,
        path=base,
        licence=BIRDS_LICENCE,
    )
    return LazySplits(shared.splits, partial(open_birds_split, shared, tuple(classes), location))


def open_birds_split(
    shared: PublishedFolder, numbers: tuple[str, ...], location: DataLocation, split: str
) -> FolderDataset:
    """Return one split in the order of images.txt. `numbers` are those of the classes."""
    base = shared.base
    images = read_list(base / "images.txt", 2, BIRDS_ARCHIVE)
    check_files(images)
    labels = read_values(base / "image_class_labels.txt", images, numbers)
    chosen = read_values(base / "train_test_split.txt", images, tuple(IN_SPLIT.values()))
    members = [key for key in images if chosen[key] == IN_SPLIT[split]]
    files = tuple(f"images/{images[key].text}" for key in members)
    everything = {f"images/{entry.text}" for entry in images.values()}
    notes = match_images(base, "images", files, everything, base / "images.txt", BIRDS_ARCHIVE)
    index = {number: k for k, number in enumerate(numbers)}
    targets = OneOf(np.array([index[labels[key]] for key in members], np.int64))
    return shared.dataset(split, ListedImages(files, targets, notes), location)


def check_files(images: Mapping[str, ListEntry]) -> None:
    """Raise `UserError` if a file is listed under two numbers."""
    seen: dict[str, ListEntry] = {}
    for entry in images.values():
        first = seen.setdefault(entry.text, entry)
        if first is not entry:
            raise UserError(f"{entry.at}: {entry.text} is already in {first.at}; remove one of the two lines")


def read_values(path: Path, images: Mapping[str, ListEntry], allowed: tuple[str, ...]) -> dict[str, str]:
    """Return the value of each image in a list. Raise `UserError` if a value is not one of those `allowed`."""
    entries = read_list(path, 2, BIRDS_ARCHIVE)
    check_same_keys(images, entries, path, BIRDS_ARCHIVE)
    known = set(allowed)
    for entry in entries.values():
        if entry.text not in known:
            raise UserError(
                f"{entry.at}: {entry.text!r} must be between {min(allowed, key=int_of)} and "
                f"{max(allowed, key=int_of)}; replace the file with that in {BIRDS_ARCHIVE}"
            )
    return {key: entry.text for key, entry in entries.items()}


def int_of(text: str) -> int:
    """Return the number in a text, or -1 if there is none."""
    return int(text) if text.isdecimal() else -1


DATASETS = {
    BIRDS_NAME: DatasetEntry(
        open_birds,
        "200 kinds of birds (Caltech-UCSD): give the path of CUB_200_2011, or link it into the store",
        ("train", "test"),
        licence=BIRDS_LICENCE,
        recognises=is_birds,
    )
}
