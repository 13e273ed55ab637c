"""PASCAL VOC 2007 to 2012 (Everingham et al., IJCV 2010): 20 classes, of which an image may show any number.

    VOCdevkit/VOC2007/ImageSets/Main/train.txt            names the images of a split; also val, trainval and test
    VOCdevkit/VOC2007/ImageSets/Main/aeroplane_train.txt  states for each of them whether it shows an aeroplane
    VOCdevkit/VOC2007/Annotations/000012.xml              lists the objects in an image
    VOCdevkit/VOC2007/JPEGImages/000012.jpg

In the list of a class, 1 means that the image shows at least one object that is not "difficult", 0 that it shows only
difficult ones, and -1 that it shows none. The devkit leaves images with 0 out when it scores the class, so they are not
judged here. The lists decide, because the devkit scores by them. Where the list of a class is missing, the same rule is
applied to the XML files. Where there are both, a note counts the labels on which they disagree.

Since 2008 the annotations of the test images have not been published, so these years have no split `test`.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf
from imclass.core.text import suggestion
from imclass.data.sets.folder import FolderDataset
from imclass.data.sets.official import (
    ListedImages,
    ListEntry,
    PublishedFolder,
    check_disjoint,
    check_same_keys,
    label_notes,
    match_images,
    published_root,
    read_list,
)
from imclass.data.source import DataLocation, DatasetEntry, LazySplits

VOC_URL = "http://host.robots.ox.ac.uk/pascal/VOC"
VOC_LICENCE = "Flickr's terms of use"
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LIST_MARKS = {"1": 1, "0": -1, "-1": 0}  # from the lists of classes to `AnyOf.marks`
ABSENT, UNKNOWN = 0, -2  # marks; an unknown one is replaced or refused
MAX_XML_BYTES = 1 << 20  # published files have at most some ten kilobytes
LISTS = Path("ImageSets") / "Main"
IMAGES = "JPEGImages"


@dataclass(frozen=True)
class VocYear:
    """A folder such as VOC2007, with the images of each split."""

    folder: Path
    lists: Mapping[str, Mapping[str, ListEntry]]  # the images, keyed by the name of the list, such as "trainval"
    notes: tuple[str, ...] = ()

    def list_path(self, name: str) -> Path:
        """Return the path of a list of images, such as "train", or of the list of a class, such as "dog_train"."""
        return self.folder / LISTS / f"{name}.txt"

    @property
    def archive(self) -> str:
        """The archives of this year."""
        return f"the archives of {self.folder.name}"


@dataclass(frozen=True)
class VocSet:
    """An entry of the catalogue: the lists that form the splits, and the year that it reads if none is given."""

    name: str
    lists: Mapping[str, str]  # keyed by split
    year: str

    def open(self, location: DataLocation) -> LazySplits:
        """Return the splits. The labels of a split are read when it is first used."""
        root = published_root(location, self.year.lower(), VOC_URL)
        folder = choose_year(root, self.year if location.path is None else "")
        year, splits = read_year(folder, self.lists)
        shared = PublishedFolder(
            base=folder,
            classes=VOC_CLASSES,
            splits=splits,
            name=self.name if location.path is None else folder.name,
            path=folder if self.lists["train"] == "train" else year.list_path(self.lists["train"]),
            licence=VOC_LICENCE,
        )
        return LazySplits(splits, partial(self.open_split, year, shared, location))

    def open_split(self, year: VocYear, shared: PublishedFolder, location: DataLocation, split: str) -> FolderDataset:
        """Return one split."""
        return shared.dataset(split, read_images(year, self.lists[split]), location)


def is_voc(root: Path) -> bool:
    """Return whether a folder contains a year of PASCAL VOC, or the devkit with one or more years."""
    return bool(year_folders(root))


def year_folders(root: Path) -> list[Path]:
    """Return the folders of years: `root` itself, or those in it or in its folder VOCdevkit."""
    if is_year(root):
        return [root]
    return [year for place in (root, root / "VOCdevkit") for year in sorted(place.glob("VOC20*")) if is_year(year)]


def is_year(folder: Path) -> bool:
    """Return whether a folder contains the images and lists of one year."""
    return (folder / LISTS).is_dir() and (folder / IMAGES).is_dir()


def choose_year(root: Path, wanted: str) -> Path:
    """Return the folder of the `wanted` year, or of the only year if none is wanted."""
    years = year_folders(root)
    if wanted:
        years = [year for year in years if year == root or year.name == wanted]
    if not years:
        named = wanted or "VOC2007 or VOC2012"
        raise UserError(f"{root} has no folder {named} with {LISTS} and {IMAGES}; unpack the archives of VOC there")
    if len(years) > 1:
        names = " and ".join(year.name for year in years)
        raise UserError(f"{root} contains {names}; give the folder of one year, such as {years[0]}")
    return years[0]


def read_year(folder: Path, wanted: Mapping[str, str]) -> tuple[VocYear, tuple[str, ...]]:
    """Return the lists of a year, and the names of the splits that are present and annotated.

    The training split is always among them. It raises a `UserError` on use if its list is missing.
    """
    year = VocYear(folder, {})
    names = [name for name in ("train", "val", "trainval", "test") if year.list_path(name).is_file()]
    lists = {name: read_list(year.list_path(name), 1, year.archive) for name in names}
    check_disjoint({split: lists[name] for split, name in wanted.items() if name in lists})
    splits, notes = [], []
    for split, name in wanted.items():
        if split == "train" or (name in lists and is_annotated(year, name, lists[name])):
            splits.append(split)
        elif name in lists:
            notes.append(
                f"there is no split {split}: the {len(lists[name]):,} images in {name}.txt have no annotations, which "
                "for the test images of VOC2008 to VOC2012 were not published"
            )
    return VocYear(folder, lists, tuple(notes)), tuple(splits)


def is_annotated(year: VocYear, name: str, images: Mapping[str, ListEntry]) -> bool:
    """Return whether there is the list of a class or an XML file for any of the images."""
    if any(year.list_path(f"{label}_{name}").is_file() for label in VOC_CLASSES):
        return True
    return any((year.folder / "Annotations" / f"{image}.xml").is_file() for image in images)


def read_images(year: VocYear, name: str) -> ListedImages:
    """Return the images of a list with their marks."""
    if name not in year.lists:
        raise UserError(f"{year.list_path(name)} does not exist; unpack {year.archive} again")
    images = tuple(year.lists[name])
    files = tuple(f"{IMAGES}/{image}.jpg" for image in images)
    everything = {f"{IMAGES}/{image}.jpg" for entries in year.lists.values() for image in entries}
    found = match_images(year.folder, IMAGES, files, everything, year.list_path(name), year.archive)
    listed, drawn = read_class_lists(year, name), read_annotations(year.folder / "Annotations", images)
    marks = np.where(listed == UNKNOWN, drawn, listed)
    check_known(marks, year, name, images)
    per_image = zip((marks == 1).sum(1).tolist(), (marks == -1).sum(1).tolist(), strict=True)
    labels = label_notes(per_image, 'are of "difficult" objects only')
    notes = (*year.notes, *disagreement_notes(listed, drawn, images), *labels, *found)
    return ListedImages(files, AnyOf(marks), notes)


def read_class_lists(year: VocYear, name: str) -> Int8[np.ndarray, "N K"]:
    """Return the marks in the lists of the classes. Those of a class without a list are unknown."""
    images = year.lists[name]
    marks = np.full((len(images), len(VOC_CLASSES)), UNKNOWN, np.int8)
    for k, label in enumerate(VOC_CLASSES):
        path = year.list_path(f"{label}_{name}")
        if not path.is_file():
            continue
        entries = read_list(path, 2, year.archive)
        check_same_keys(images, entries, path, year.archive)
        for n, image in enumerate(images):
            entry = entries[image]
            if entry.text not in LIST_MARKS:
                raise UserError(
                    f"{entry.at}: {entry.text!r} is not 1, 0 or -1; replace the file with the published one"
                )
            marks[n, k] = LIST_MARKS[entry.text]
    return marks


def read_annotations(folder: Path, images: Sequence[str]) -> Int8[np.ndarray, "N K"]:
    """Return the marks in the XML files. Those of an image without a file are unknown."""
    marks = np.full((len(images), len(VOC_CLASSES)), UNKNOWN, np.int8)
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for n, image in enumerate(images):
        if f"{image}.xml" in present:
            marks[n] = ABSENT
            for label, mark in read_objects(folder / f"{image}.xml").items():
                marks[n, VOC_CLASSES.index(label)] = mark
    return marks


def read_objects(path: Path) -> dict[str, int]:
    """Return the mark of each class in an XML file: 1, or -1 if all of its objects are difficult."""
    marks: dict[str, int] = {}
    for item in parse_xml(path).findall("object"):  # not the parts of a person, which have names, too
        label = (item.findtext("name") or "").strip()
        if label not in VOC_CLASSES:
            known = suggestion(label, VOC_CLASSES)
            raise UserError(
                f"{path}: {label!r} is not one of the 20 classes of VOC{known}; correct it, or list images of other "
                "classes in a CSV file"
            )
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        marks[label] = max(marks.get(label, -1), -1 if difficult else 1)
    return marks


class PlainBuilder(ElementTree.TreeBuilder):
    """A builder of XML trees that refuses document types, because entities declared in them can fill the memory."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Raise `ValueError`."""
        raise ValueError("it declares a document type")


def parse_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file. Raise `UserError` if the file is damaged, unusually large or no annotation."""
    fix = "replace it with the published file"
    try:
        content = path.read_bytes()
        if len(content) > MAX_XML_BYTES:
            raise UserError(f"{path} has {len(content):,} bytes, more than an annotation has; {fix}")
        root: ElementTree.Element = ElementTree.fromstring(content, ElementTree.XMLParser(target=PlainBuilder()))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {fix}") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is not a plain XML file ({error}); {fix}") from None
    if root.tag != "annotation":
        raise UserError(f"{path} begins with <{root.tag}> and not with <annotation>; {fix}")
    return root


def check_known(marks: Int8[np.ndarray, "N K"], year: VocYear, name: str, images: Sequence[str]) -> None:
    """Raise `UserError` if a label is neither in a list nor in an XML file."""
    unknown = np.argwhere(marks == UNKNOWN)
    if len(unknown):
        image, label = images[unknown[0][0]], VOC_CLASSES[unknown[0][1]]
        raise UserError(
            f"nothing states whether {image} shows {label!r}: both {year.list_path(f'{label}_{name}')} and "
            f"{year.folder / 'Annotations' / f'{image}.xml'} are missing; unpack {year.archive} again"
        )


def disagreement_notes(
    listed: Int8[np.ndarray, "N K"], drawn: Int8[np.ndarray, "N K"], images: Sequence[str]
) -> list[str]:
    """Return a note if lists and XML files disagree."""
    differing = np.argwhere((listed != UNKNOWN) & (drawn != UNKNOWN) & (listed != drawn))
    if not len(differing):
        return []
    first = f"{VOC_CLASSES[differing[0][1]]!r} of {images[differing[0][0]]}"
    return [
        f"{len(differing):,} labels differ between {LISTS} and Annotations, such as {first}; those in {LISTS} are used"
    ]


OFFICIAL_LISTS = {"train": "train", "validation": "val", "test": "test"}
VOC2007 = VocSet("voc2007", OFFICIAL_LISTS, "VOC2007")
VOC2007_TRAINVAL = VocSet("voc2007-trainval", {"train": "trainval", "test": "test"}, "VOC2007")
VOC2012 = VocSet("voc2012", OFFICIAL_LISTS, "VOC2012")

DATASETS = {
    "voc2007": DatasetEntry(
        VOC2007.open,
        "PASCAL VOC 2007, 20 classes, several per image: give the path of VOC2007, or link it into the store",
        ("train", "validation", "test"),
        licence=VOC_LICENCE,
        recognises=is_voc,
    ),
    "voc2007-trainval": DatasetEntry(
        VOC2007_TRAINVAL.open,
        "PASCAL VOC 2007 with train and validation joined, as in most papers: link it into the store as voc2007",
        ("train", "test"),
        licence=VOC_LICENCE,
    ),
    "voc2012": DatasetEntry(
        VOC2012.open,
        "PASCAL VOC 2012, 20 classes, several per image: give the path of VOC2012, or link it into the store",
        ("train", "validation"),
        licence=VOC_LICENCE,
    ),
}
