"""COCO (Lin et al., ECCV 2014) as a set of images with any number of 80 classes, in the editions of 2014 and 2017.

    coco/annotations/instances_train2017.json   the images and the objects in them
    coco/annotations/instances_val2017.json
    coco/train2017/000000000009.jpg             also coco/images/train2017
    coco/val2017/000000000139.jpg

An image has a class if any object of that class is annotated, however small, including crowds (`iscrowd`), as in papers
on multi-label classification (the code of Ridnik et al., ICCV 2021, for example). An image without annotated objects
has no class. Such papers leave these images out, and use 82,081 of the 82,783 training images of 2014.

The validation images are the split `test`, because papers report results on them. The annotations of the test images
were not published.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf
from imclass.data.sets.folder import FolderDataset
from imclass.data.sets.json_records import read_records
from imclass.data.sets.official import ListedImages, PublishedFolder, label_notes, match_images, published_root
from imclass.data.source import DataLocation, DatasetEntry, LazySplits

COCO_URL = "https://cocodataset.org/#download"
COCO_LICENCE = "CC BY 4.0; images: Flickr's terms of use"
COCO_PARTS = {"train": "train", "test": "val"}  # the names of the files' parts, keyed by split
# The numbers of the categories are 1 to 90, but these are not used.
UNUSED_NUMBERS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
COCO_CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)
CATEGORIES = dict(zip((n for n in range(1, 91) if n not in UNUSED_NUMBERS), COCO_CLASSES, strict=True))


@dataclass(frozen=True)
class CocoSet:
    """One edition of COCO."""

    year: str

    @property
    def name(self) -> str:
        """Return the name in the catalogue."""
        return f"coco{self.year}"

    def annotations(self, root: Path, part: str) -> Path:
        """Return the path of the file that annotates a part, "train" or "val"."""
        return root / "annotations" / f"instances_{part}{self.year}.json"

    def images(self, root: Path, part: str) -> str:
        """Return the folder of a part's images, relative to `root`."""
        folder = f"{part}{self.year}"
        return folder if (root / folder).is_dir() or not (root / "images" / folder).is_dir() else f"images/{folder}"

    def is_in(self, root: Path) -> bool:
        """Return whether a folder contains the annotations and the images of any part."""
        return any(
            self.annotations(root, part).is_file() and (root / self.images(root, part)).is_dir()
            for part in COCO_PARTS.values()
        )

    def open(self, location: DataLocation) -> LazySplits:
        """Return the splits. The annotations of a split are read when it is first used."""
        root = published_root(location, self.name, COCO_URL)
        editions = [edition.name for edition in EDITIONS if edition.is_in(root)]
        if location.path is not None and len(editions) > 1:
            link = location.store.folder / editions[-1]
            raise UserError(
                f"{root} contains {' and '.join(editions)}; make {link} a link to it, and give --data {editions[-1]}"
            )
        shared = PublishedFolder(
            base=root,
            classes=COCO_CLASSES,
            splits=tuple(COCO_PARTS),
            name=self.name if location.path is None else root.name,
            path=self.annotations(root, "train"),
            licence=COCO_LICENCE,
        )
        return LazySplits(shared.splits, partial(self.open_split, shared, location))

    def open_split(self, shared: PublishedFolder, location: DataLocation, split: str) -> FolderDataset:
        """Return one split."""
        path, folder = self.annotations(shared.base, COCO_PARTS[split]), self.images(shared.base, COCO_PARTS[split])
        if not path.is_file():
            raise UserError(f"{path} does not exist; unpack annotations_trainval{self.year}.zip in {shared.base}")
        files, marks = read_instances(path, folder)
        found = match_images(shared.base, folder, files, set(files), path, f"{COCO_PARTS[split]}{self.year}.zip")
        labels = label_notes(((count, 0) for count in (marks == 1).sum(1).tolist()), "")
        return shared.dataset(split, ListedImages(files, AnyOf(marks), (*labels, *found)), location)


def read_instances(path: Path, folder: str) -> tuple[tuple[str, ...], Int8[np.ndarray, "N 80"]]:
    """Return the images in a file of annotations, sorted by name, and their marks."""
    names: dict[int, str] = {}
    categories: dict[Any, Any] = {}
    images, numbers = array("q"), array("q")  # of each annotated object
    for key, record in read_records(path):
        if key == "images":
            number, name = field_of(record, "id", int, path), field_of(record, "file_name", str, path)
            if number in names:
                raise UserError(f"{path}: the id {number} of {name} is also that of {names[number]}; correct one")
            names[number] = name
        elif key == "annotations":
            images.append(field_of(record, "image_id", int, path))
            numbers.append(field_of(record, "category_id", int, path))
        elif key == "categories":
            categories[field_of(record, "id", int, path)] = field_of(record, "name", str, path)
    check_categories(categories, path)
    check_image_names(names, path)
    order = sorted(names, key=lambda number: names[number])
    marks = np.zeros((len(order), len(COCO_CLASSES)), np.int8)
    rows = positions_of(images, order, "image_id", path)
    marks[rows, positions_of(numbers, list(CATEGORIES), "category_id", path)] = 1
    return tuple(f"{folder}/{names[number]}" for number in order), marks


def field_of(record: dict[str, Any], key: str, kind: type, path: Path) -> Any:
    """Return a field of a record. Raise `UserError` unless it has the right type."""
    value = record.get(key)
    if type(value) is not kind or (isinstance(value, int) and abs(value) >= 1 << 63):
        what = "whole number" if kind is int else "text"
        shown = ", ".join(f"{name}: {str(entry)[:20]}" for name, entry in list(record.items())[:3])
        raise UserError(
            f"{path}: the record {{{shown}}} has no {what} {key!r}; replace the file with the published one"
        )
    return value


def check_categories(categories: dict[Any, Any], path: Path) -> None:
    """Raise `UserError` unless the categories are those of COCO."""
    wrong = [n for n in (*CATEGORIES, *categories) if categories.get(n) != CATEGORIES.get(n)]
    if wrong:
        found, expected = categories.get(wrong[0]), CATEGORIES.get(wrong[0])
        raise UserError(
            f"{path}: category {wrong[0]} is {found!r} and not {expected!r}, so the classes are not the 80 of COCO; "
            "list images of other classes in a CSV file"
        )


def check_image_names(names: dict[int, str], path: Path) -> None:
    """Raise `UserError` if there are no images, or if two have the same file name."""
    if not names:
        raise UserError(f"{path} lists no images; replace it with the published file")
    seen: dict[str, int] = {}
    for number, name in names.items():
        if seen.setdefault(name, number) != number:
            raise UserError(f"{path}: {name} is listed with the ids {seen[name]} and {number}; remove one of the two")


def positions_of(values: array, known: Sequence[int], key: str, path: Path) -> np.ndarray:
    """Return the position of each value in `known`. Raise `UserError` if one is missing there."""
    wanted, keys = np.array(values, np.int64), np.array(known, np.int64)
    order = np.argsort(keys)
    places = order[np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)]
    wrong = np.flatnonzero(keys[places] != wanted)
    if len(wrong):
        raise UserError(
            f"{path}: annotations[{wrong[0]}] has the {key} {wanted[wrong[0]]}, which is not listed; "
            "replace the file with the published one"
        )
    return places


EDITIONS = (CocoSet("2014"), CocoSet("2017"))
DATASETS = {
    edition.name: DatasetEntry(
        edition.open,
        f"COCO {edition.year}, 80 classes, several per image: give the path of the folder with annotations, or link "
        "it into the store",
        ("train", "test"),
        licence=COCO_LICENCE,
        recognises=edition.is_in,
    )
    for edition in EDITIONS
}
