"""Stanford Dogs (Khosla, Jayadevaprakash, Yao and Fei-Fei, FGVC workshop at CVPR 2011): 120 breeds of dogs.

    dogs/Images/n02085620-Chihuahua/n02085620_5927.jpg
    dogs/train_list.mat                                  also dogs/lists/train_list.mat
    dogs/test_list.mat

Classes have the names of their folders, and the order of their labels. They begin with WordNet ids, so they are joined
with ImageNet's classes. All images are from ImageNet: weights that were trained on ImageNet have seen test images.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imclass.core.classes import check_classes
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.data.sets.folder import FolderDataset
from imclass.data.sets.mat_file import read_mat, texts, whole_numbers
from imclass.data.sets.official import ListedImages, PublishedFolder, match_images, published_root
from imclass.data.source import DataLocation, DatasetEntry, LazySplits

DOGS_NAME = "stanford-dogs"
DOGS_URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
DOGS_LICENCE = "non-commercial"  # as ImageNet, from which the images are
DOGS_LISTS = {"train": "train_list.mat", "test": "test_list.mat"}
IMAGES_FOLDER = "Images"


@dataclass(frozen=True)
class DogList:
    """The images of a split, relative to the folder of images, and their labels."""

    path: Path
    files: list[str]
    labels: list[int]

    @property
    def breeds(self) -> list[str]:
        """The folder of each image."""
        return [file.partition("/")[0] for file in self.files]


def list_path(root: Path, split: str) -> Path:
    """Return the path of the list of a split."""
    name = DOGS_LISTS[split]
    return root / "lists" / name if (root / "lists" / name).is_file() else root / name


def is_dogs(root: Path) -> bool:
    """Return whether a folder contains Stanford Dogs."""
    return (root / IMAGES_FOLDER).is_dir() and all(list_path(root, split).is_file() for split in DOGS_LISTS)


def open_dogs(location: DataLocation) -> LazySplits:
    """Return the splits. Both lists are read at once, and images are checked when a split is first used."""
    root = published_root(location, DOGS_NAME, DOGS_URL)
    lists = {split: read_dog_list(list_path(root, split)) for split in DOGS_LISTS}
    check_separate(lists["train"], lists["test"])
    breeds = number_breeds(lists)
    check_classes(tuple(breeds.values()), str(lists["train"].path))
    shared = PublishedFolder(
        base=root,
        classes=tuple(breeds.values()),
        splits=tuple(DOGS_LISTS),
        name=root.name if location.path else DOGS_NAME,
        path=root,
        licence=DOGS_LICENCE,
    )
    return LazySplits(shared.splits, partial(open_dogs_split, shared, lists, location))


def open_dogs_split(
    shared: PublishedFolder, lists: dict[str, DogList], location: DataLocation, split: str
) -> FolderDataset:
    """Return one split in the order of its list."""
    listed = lists[split]
    files = tuple(f"{IMAGES_FOLDER}/{file}" for file in listed.files)
    everything = {f"{IMAGES_FOLDER}/{file}" for each in lists.values() for file in each.files}
    notes = match_images(shared.base, IMAGES_FOLDER, files, everything, listed.path, "images.tar")
    index = {name: k for k, name in enumerate(shared.classes)}
    targets = OneOf(np.array([index[breed] for breed in listed.breeds], np.int64))
    return shared.dataset(split, ListedImages(files, targets, notes), location)


def read_dog_list(path: Path) -> DogList:
    """Read a list. Raise `UserError` if it has a file twice, or does not have one label for each file."""
    files, labels = read_mat(path, ["file_list", "labels"], "lists.tar")
    found = DogList(path, texts(files, "file_list", path), whole_numbers(labels, "labels", path))
    fix = "replace it with that in lists.tar"
    if len(found.files) != len(found.labels):
        raise UserError(f"{path} has {len(found.files):,} files and {len(found.labels):,} labels; {fix}")
    if len(set(found.files)) < len(found.files):
        twice = next(file for n, file in enumerate(found.files) if file in found.files[:n])
        raise UserError(f"{path}: {twice} is listed twice; {fix}")
    return found


def check_separate(train: DogList, test: DogList) -> None:
    """Raise `UserError` if an image is in both lists."""
    both = sorted({*train.files} & {*test.files})
    if both:
        raise UserError(f"{both[0]} is in {train.path} and in {test.path}; use both files from one lists.tar")


def number_breeds(lists: dict[str, DogList]) -> dict[int, str]:
    """Return the folder of each label, in the order of the labels. Raise `UserError` if they are not one to one."""
    breeds: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for listed in lists.values():
        for file, breed, label in zip(listed.files, listed.breeds, listed.labels, strict=True):
            known, number = breeds.setdefault(label, breed), numbers.setdefault(breed, label)
            if known != breed or number != label:
                other = f"label {label} is that of {known}" if known != breed else f"{breed} has the label {number}"
                raise UserError(
                    f"{listed.path}: {file} has the label {label}, but {other}; use both files from one lists.tar"
                )
    return dict(sorted(breeds.items()))


DATASETS = {
    DOGS_NAME: DatasetEntry(
        open_dogs,
        "120 breeds of dogs (Stanford): give the path of the folder with Images and lists, or link it into the store",
        ("train", "test"),
        licence=DOGS_LICENCE,
        recognises=is_dogs,
    )
}
