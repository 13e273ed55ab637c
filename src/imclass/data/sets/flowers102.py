"""Oxford Flowers-102 (Nilsback and Zisserman, ICVGIP 2008): 102 kinds of flowers.

    flowers102/jpg/image_00001.jpg   8,189 images
    flowers102/imagelabels.mat       the label of each image, from 1
    flowers102/setid.mat             the numbers of the images in each split: trnid, valid and tstid

The published files have no names of the classes. Those below, in the order of the labels, are in use in many projects,
with this spelling. In the authors' splits, train and validation have 10 images of each class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.data.sets.folder import FolderDataset
from imclass.data.sets.mat_file import read_mat, whole_numbers
from imclass.data.sets.official import ListedImages, PublishedFolder, match_images, published_root
from imclass.data.source import DataLocation, DatasetEntry, LazySplits

FLOWERS_NAME = "flowers102"
FLOWERS_URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
FLOWERS_LICENCE = "none stated"
FLOWERS_CLASSES = (
    *("pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold", "tiger lily"),
    *("moon orchid", "bird of paradise", "monkshood", "globe thistle", "snapdragon", "colt's foot", "king protea"),
    *("spear thistle", "yellow iris", "globe-flower", "purple coneflower", "peruvian lily", "balloon flower"),
    *("giant white arum lily", "fire lily", "pincushion flower", "fritillary", "red ginger", "grape hyacinth"),
    *("corn poppy", "prince of wales feathers", "stemless gentian", "artichoke", "sweet william", "carnation"),
    *("garden phlox", "love in the mist", "mexican aster", "alpine sea holly", "ruby-lipped cattleya", "cape flower"),
    *("great masterwort", "siam tulip", "lenten rose", "barbeton daisy", "daffodil", "sword lily", "poinsettia"),
    *("bolero deep blue", "wallflower", "marigold", "buttercup", "oxeye daisy", "common dandelion", "petunia"),
    *("wild pansy", "primula", "sunflower", "pelargonium", "bishop of llandaff", "gaura", "geranium", "orange dahlia"),
    *("pink-yellow dahlia?", "cautleya spicata", "japanese anemone", "black-eyed susan", "silverbush"),
    *("californian poppy", "osteospermum", "spring crocus", "bearded iris", "windflower", "tree poppy", "gazania"),
    *("azalea", "water lily", "rose", "thorn apple", "morning glory", "passion flower", "lotus", "toad lily"),
    *("anthurium", "frangipani", "clematis", "hibiscus", "columbine", "desert-rose", "tree mallow", "magnolia"),
    *("cyclamen", "watercress", "canna lily", "hippeastrum", "bee balm", "ball moss", "foxglove", "bougainvillea"),
    *("camellia", "mallow", "mexican petunia", "bromelia", "blanket flower", "trumpet creeper", "blackberry lily"),
)
SET_NAMES = {"train": "trnid", "validation": "valid", "test": "tstid"}


@dataclass(frozen=True)
class FlowerLists:
    """The labels of all images, from 0, and the numbers of the images in each set, from 1."""

    labels: list[int]
    sets: Mapping[str, list[int]]  # keyed by the name in setid.mat


def is_flowers(root: Path) -> bool:
    """Return whether a folder contains Flowers-102."""
    return (root / "jpg").is_dir() and (root / "imagelabels.mat").is_file() and (root / "setid.mat").is_file()


def open_flowers(location: DataLocation, sets: Mapping[str, tuple[str, ...]]) -> LazySplits:
    """Return the splits, each of which consists of one or more of the published `sets`."""
    root = published_root(location, FLOWERS_NAME, FLOWERS_URL)
    is_official = all(len(names) == 1 for names in sets.values())
    shared = PublishedFolder(
        base=root,
        classes=FLOWERS_CLASSES,
        splits=tuple(sets),
        name=root.name if location.path else FLOWERS_NAME if is_official else f"{FLOWERS_NAME}-trainval",
        path=root if is_official else root / "setid.mat",
        licence=FLOWERS_LICENCE,
    )
    return LazySplits(shared.splits, partial(open_flowers_split, shared, sets, location))


def open_flowers_split(
    shared: PublishedFolder, sets: Mapping[str, tuple[str, ...]], location: DataLocation, split: str
) -> FolderDataset:
    """Return one split. Its images are sorted by number."""
    lists = read_flower_lists(shared.base)
    numbers = sorted(number for name in sets[split] for number in lists.sets[name])
    files = tuple(map(file_of, numbers))
    listed = {file_of(number) for members in lists.sets.values() for number in members}
    notes = match_images(shared.base, "jpg", files, listed, shared.base / "setid.mat", "102flowers.tgz")
    targets = OneOf(np.array([lists.labels[number - 1] for number in numbers], np.int64))
    return shared.dataset(split, ListedImages(files, targets, notes), location)


def file_of(number: int) -> str:
    """Return the path of an image."""
    return f"jpg/image_{number:05d}.jpg"


def read_flower_lists(root: Path) -> FlowerLists:
    """Read the two files of lists. Raise `UserError` if they do not fit each other."""
    path = root / "imagelabels.mat"
    labels = whole_numbers(read_mat(path, ["labels"], FLOWERS_URL)[0], "labels", path)
    for number, label in enumerate(labels, 1):
        if not 1 <= label <= len(FLOWERS_CLASSES):
            raise UserError(
                f"{path}: image {number} has the label {label}, but the labels are 1 to {len(FLOWERS_CLASSES)}; "
                "replace it with the published file"
            )
    path = root / "setid.mat"
    names = list(SET_NAMES.values())
    found = zip(names, read_mat(path, names, FLOWERS_URL), strict=True)
    sets = {name: whole_numbers(values, name, path) for name, values in found}
    seen: dict[int, str] = {}
    for name, numbers in sets.items():
        for number in numbers:
            if number in seen:
                raise UserError(
                    f"{path}: image {number} is in {name} and was already in {seen[number]}; replace it with the "
                    "published file"
                )
            if not 1 <= number <= len(labels):
                raise UserError(
                    f"{path}: {name} contains image {number}, but imagelabels.mat has labels for 1 to {len(labels)}; "
                    "use both files of one release"
                )
            seen[number] = name
    return FlowerLists([label - 1 for label in labels], sets)


DATASETS = {
    FLOWERS_NAME: DatasetEntry(
        partial(open_flowers, sets={split: (name,) for split, name in SET_NAMES.items()}),
        "102 kinds of flowers (Oxford): give the path of the folder with jpg and .mat files, or link it into the store",
        ("train", "validation", "test"),
        licence=FLOWERS_LICENCE,
        recognises=is_flowers,
    ),
    f"{FLOWERS_NAME}-trainval": DatasetEntry(
        partial(open_flowers, sets={"train": ("trnid", "valid"), "test": ("tstid",)}),
        "Flowers-102 with train and validation joined, as in many papers: link it into the store as flowers102",
        ("train", "test"),
        licence=FLOWERS_LICENCE,
    ),
}
