"""ILSVRC-2012, ImageNet's data set of 1,000 classes (Russakovsky et al., IJCV 2015), as it is distributed and unpacked.

    tree/train/n01440764/n01440764_10026.JPEG        also tree/ILSVRC/Data/CLS-LOC/train, as Kaggle distributes it
    tree/val/ILSVRC2012_val_00000001.JPEG            with a file of labels in `tree`, or in the folder of the devkit
    tree/val/n01751748/ILSVRC2012_val_00000001.JPEG  sorted into folders like those in train

The validation images are the split `test`, because papers report results on them. The labels of the original test
images were never published. `ilsvrc_labels` reads the files of labels. Classes are named by their WordNet id and first
word, and sorted by id, as in all published weights. A tree may contain only some of the 1,000 classes.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np

from imclass.core.classes import WORDNET_ID, check_ids, class_key, imagenet_classes
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.core.text import list_names
from imclass.data.names import is_hidden, split_of
from imclass.data.sets.folder import FolderDataset, TreePart, check_root, part_folders, read_part
from imclass.data.sets.ilsvrc_labels import VALIDATION_IMAGE, class_named, classes_by_id, find_labels, read_labels
from imclass.data.source import DataLocation, DatasetEntry, LazySplits
from imclass.data.walk import Walk, is_folder, list_folder, scan_folder
from imclass.store.digests import open_digests

NAME = "ilsvrc-2012"
INNER_FOLDERS = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # in Kaggle's archive
FOLDERS = {"train": "train", "test": "val"}
ARCHIVES = {"train": "ILSVRC2012_img_train.tar", "test": "ILSVRC2012_img_val.tar"}
CLASS_ARCHIVE = re.compile(r"n\d{8}\.tar")
TRAINING_IMAGES = 1_281_167  # in all 1,000 classes
# Files that many programs cannot read. Those of train are from https://github.com/cytsai/ilsvrc-cmyk-image-list, which
# TensorFlow's build_imagenet_data.py uses as well. Many users report that val_00019877 is a CMYK file, too.
CMYK_FILES = frozenset(
    f"{stem}.JPEG"
    for stem in (
        *("n01739381_1309", "n02077923_14822", "n02447366_23489", "n02492035_15739", "n02747177_10752"),
        *("n03018349_4028", "n03062245_4620", "n03347037_9675", "n03467068_12171", "n03529860_11437"),
        *("n03544143_17228", "n03633091_5218", "n03710637_5125", "n03961711_5286", "n04033995_2932"),
        *("n04258138_17003", "n04264628_27969", "n04336792_7448", "n04371774_5854", "n04596742_4225"),
        *("n07583066_647", "n13037406_4650", "ILSVRC2012_val_00019877"),
    )
)
PNG_FILES = frozenset({"n02105855_2933.JPEG"})


@dataclass(frozen=True)
class Layout:
    """The folders of a tree of ILSVRC-2012."""

    root: Path  # as the user gave it
    base: Path  # the folder that contains train and val
    folders: Mapping[str, str]  # the names of these two, keyed by split


@dataclass(frozen=True)
class LabelledFiles:
    """The images of a split and their classes."""

    files: tuple[str, ...]  # relative to the layout's base
    classes: tuple[str, ...]  # of each file
    notes: tuple[str, ...] = ()


def is_ilsvrc(root: Path) -> bool:
    """Return whether a folder contains ILSVRC-2012, unpacked or not."""
    try:
        layout = find_layout(root)
        if layout.base != root:
            return True
        has_archive = any((root / archive).is_file() for archive in ARCHIVES.values())
        has_images = has_validation_images(layout)
        return (has_archive or has_images) and fits_class_folders(layout, has_images)
    except (OSError, UserError):
        return False


def find_layout(root: Path) -> Layout:
    """Return the folder that may contain train and val, and the names of these two."""
    base = next((folder for inner in INNER_FOLDERS if (folder := root / inner).is_dir()), root)
    names = [entry.name for entry in list_folder(base) if is_folder(entry)]
    names.sort(key=lambda name: name in FOLDERS.values())  # of two folders for a split, "train" and "val" are taken
    parts = {split_of(name.casefold().removeprefix("ilsvrc2012_")): name for name in names}
    found = {"train": parts.get("train"), "test": parts.get("validation"), "unlabelled": parts.get("test")}
    return Layout(root, base, {split: name for split, name in found.items() if name})


def fits_class_folders(layout: Layout, has_images: bool) -> bool:
    """Return whether all class folders of train are named after one of the 1,000 classes.

    Without class folders in train, archives do not make a folder with class folders of its own ILSVRC-2012.
    """
    train = layout.folders.get("train")
    names = part_folders(Walk(layout.base), train, "train")[1] if train else []
    if not names and not has_images:
        return not any(map(may_be_class, Walk(layout.root).folders("")))
    return all(class_key(name) in classes_by_id() for name in names)


def may_be_class(name: str) -> bool:
    """Return whether a folder next to the archives may be a class, because it is neither a split nor an unpacked part.

    Unpacked parts are the development kit and the bounding boxes, for example.
    """
    folded = name.casefold()
    return split_of(folded) is None and "ilsvrc" not in folded and "devkit" not in folded


def has_validation_images(layout: Layout) -> bool:
    """Return whether val, or the first class folder in it, contains images with the names of ILSVRC-2012.

    A tree whose test folder contains folders has a test split of its own, so it is an ordinary folder of images.
    """
    unlabelled = layout.folders.get("unlabelled")
    if "test" not in layout.folders or (unlabelled and is_sorted(layout.base / unlabelled)):
        return False
    folder = layout.base / layout.folders["test"]
    if holds_validation_images(folder):
        return True
    first = next((entry for entry in scan_folder(folder) if WORDNET_ID.match(entry.name) and is_folder(entry)), None)
    return first is not None and holds_validation_images(Path(first.path))


def is_sorted(folder: Path) -> bool:
    """Return whether a folder contains a folder that is not hidden. Other files do not matter."""
    with os.scandir(folder) as entries:
        return any(is_folder(entry) for entry in entries if not is_hidden(entry.name))


def holds_validation_images(folder: Path) -> bool:
    """Return whether a folder directly contains a validation image."""
    with os.scandir(folder) as entries:
        return any(VALIDATION_IMAGE.match(entry.name) for entry in entries)


def open_ilsvrc(location: DataLocation) -> LazySplits:
    """Return the splits. The files of a split are listed when it is first used.

    If a part of the tree is missing or does not fit the others, the split that needs it raises a `UserError`.
    """
    root = location.path or location.store.folder / NAME
    if location.path is None and not root.is_dir():
        raise UserError(
            f"{NAME} is not in the store; download it from https://image-net.org (its licence must be accepted there), "
            f"and give its folder as --data, or make {root} a link to that folder"
        )
    return LazySplits(("train", "test"), partial(open_ilsvrc_split, find_layout(check_root(root)), location))


def open_ilsvrc_split(layout: Layout, location: DataLocation, split: str) -> FolderDataset:
    """List the files of a split and return it."""
    classes = tree_classes(layout)
    listing = list_training(layout) if split == "train" else list_validation(layout, classes)
    index = {name: k for k, name in enumerate(classes)}
    return FolderDataset(
        root=layout.base,
        base=layout.base.resolve(),
        files=listing.files,
        targets=OneOf(np.array([index[name] for name in listing.classes], np.int64)),
        classes=classes,
        splits=("train", "test"),
        split=split,
        origin=Origin(
            NAME if location.path is None else layout.root.name,
            str(layout.base.resolve()),
            "published",
            notes=(*listing.notes, *odd_file_notes(listing.files)),
        ),
        digests=open_digests(location.store),
        max_pixels=location.max_pixels,
    )


def tree_classes(layout: Layout) -> tuple[str, ...]:
    """Return the classes of the tree in standard order: those of its train folder, or all 1,000 if there is none.

    An archive of a class in the train folder counts as that class, although it still has to be unpacked.
    """
    if "train" not in layout.folders:
        return imagenet_classes()
    walk = Walk(layout.base)
    folder, names = part_folders(walk, layout.folders["train"], "train")
    check_ids(names, str(layout.base / folder))
    names += [Path(file).stem for file in class_archives(walk)]
    return tuple(sorted({class_named(name, layout.base / folder) for name in names}))


def class_archives(walk: Walk) -> list[str]:
    """Return the paths of the archives of single classes that a walk has found."""
    return [file for file in walk.outside if CLASS_ARCHIVE.fullmatch(Path(file).name)]


def list_training(layout: Layout) -> LabelledFiles:
    """List the training images. Raise `UserError` if a class has none, because the tree is then incomplete."""
    check_has_part(layout, "train")
    walk = Walk(layout.base)
    folder, names = part_folders(walk, layout.folders["train"], "train")
    part = read_part(walk, folder, names)
    unpacked = {class_key(name) for name in part.files}
    packed = [stem for file in class_archives(walk) if (stem := Path(file).stem) not in unpacked]
    empty = sorted({*part.empty_classes, *packed})
    if empty or not names:
        train = layout.base / folder
        fix = f"run: {unpack_classes_command(train)}" if packed else "unpack its images, or remove the folders"
        raise UserError(f"{train} is incomplete: there are no images of {list_names(empty, 3) or 'any class'}; {fix}")
    notes = walk.notes()
    total = sum(map(len, part.files.values()))
    if len(part.files) == len(imagenet_classes()) and total != TRAINING_IMAGES:
        notes = (f"train has {total:,} images, but ILSVRC-2012 has {TRAINING_IMAGES:,}", *notes)
    return sorted_files(part, layout, notes)


def sorted_files(part: TreePart, layout: Layout, notes: Sequence[str]) -> LabelledFiles:
    """Return the images of a part that has a folder for each class. The classes are in standard order."""
    names = sorted(part.files, key=class_key)
    classes = [class_named(name, layout.base / part.folder) for name in names]
    return LabelledFiles(
        files=tuple(file for name in names for file in part.files[name]),
        classes=tuple(c for c, name in zip(classes, names, strict=True) for _ in part.files[name]),
        notes=tuple(notes),
    )


def check_has_part(layout: Layout, split: str) -> None:
    """Raise `UserError` if the tree has no folder for this split."""
    if split in layout.folders:
        return
    folder, archive = layout.base / FOLDERS[split], layout.root / ARCHIVES[split]
    if not archive.is_file():
        raise UserError(f"{folder} does not exist; unpack {archive.name} of ILSVRC-2012 there")
    command = f"mkdir {quote(str(folder))} && tar -xf {quote(str(archive))} -C {quote(str(folder))}"
    if split == "train":
        command += f" && {unpack_classes_command(folder)}"
    raise UserError(f"{archive} is not unpacked; run: {command}")


def unpack_classes_command(folder: Path) -> str:
    """Return the shell command that unpacks the archive of each class in the train folder."""
    return f"cd {quote(str(folder))} && for f in n*.tar; do mkdir -p ${{f%.tar}} && tar -xf $f -C ${{f%.tar}}; done"


def list_validation(layout: Layout, classes: Sequence[str]) -> LabelledFiles:
    """List the validation images and their classes. Raise `UserError` if an image has no label or no training class."""
    check_has_part(layout, "test")
    walk = Walk(layout.base)
    folder = layout.folders["test"]
    if holds_validation_images(layout.base / folder):
        listing = flat_files(layout, walk)
    else:
        folder, names = part_folders(walk, folder, "validation")
        check_ids(names, str(layout.base / folder))
        listing = sorted_files(read_part(walk, folder, names), layout, ())
    if not listing.files:
        raise UserError(f"{layout.base / folder} has no images; unpack {ARCHIVES['test']} of ILSVRC-2012 there")
    present = set(listing.classes)
    unknown = sorted(present - set(classes))
    if unknown:
        raise UserError(
            f"{layout.base / layout.folders['train']} is incomplete: it has no folders for {len(unknown):,} classes of "
            f"the images in {layout.base / folder}, such as {unknown[0]!r}; unpack their images too, or remove the "
            "validation images of these classes and their labels"
        )
    missing = [name for name in classes if name not in present]
    notes = [f"test has no images of {list_names(missing, 3)}"] if missing else []
    return replace(listing, notes=(*listing.notes, *notes, *walk.notes()))


def flat_files(layout: Layout, walk: Walk) -> LabelledFiles:
    """List the images of a validation folder without class folders, with the classes from a file of labels."""
    images: dict[int, str] = {}
    for file in walk.images(layout.folders["test"]):
        found = VALIDATION_IMAGE.fullmatch(Path(file).stem)
        if found:
            images[int(found[1])] = file
        else:
            walk.outside.append(file)
    labels_file = find_labels(layout.root, layout.base, layout.base / layout.folders["test"])
    labels = read_labels(labels_file)
    unlabelled, absent = sorted(images.keys() - labels.keys()), sorted(labels.keys() - images.keys())
    if unlabelled:
        count, last = f"{len(labels):,} labels for {len(images):,} images", images[unlabelled[-1]]
        raise UserError(f"{labels_file} has {count}, and none for {last}; replace it with the complete file")
    if absent:
        folder, first = layout.base / layout.folders["test"], f"ILSVRC2012_val_{absent[0]:08d}.JPEG"
        problem = f"{folder} is incomplete: {len(absent):,} of the {len(labels):,} images in {labels_file} are missing"
        raise UserError(f"{problem}, such as {first}; unpack {ARCHIVES['test']} again")
    files = tuple(images[number] for number in sorted(images))
    return LabelledFiles(files, tuple(labels[number] for number in sorted(images)), (f"labels of test: {labels_file}",))


def odd_file_notes(files: Sequence[str]) -> Iterator[str]:
    """Yield a note for each kind of file that many programs cannot read."""
    kinds = (
        (CMYK_FILES, "known to be CMYK, which is converted to RGB"),
        (PNG_FILES, "known to be a PNG in spite of its name, and is read as one"),
    )
    for known, what in kinds:
        found = sorted(file for file in files if file.rpartition("/")[2] in known)
        if found:
            yield f"{len(found)} of the images {'are' if found[1:] else 'is'} {what}: {list_names(found, 3)}"


DATASETS = {
    NAME: DatasetEntry(
        open_ilsvrc,
        "ImageNet's 1,000 classes: give the path of the folder with train and val, or link it into the store",
        ("train", "test"),
        licence="non-commercial",
        recognises=is_ilsvrc,
    )
}
