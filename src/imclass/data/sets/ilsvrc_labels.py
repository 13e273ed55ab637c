"""The labels of the validation images of ILSVRC-2012, in the forms in which they are distributed."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from shlex import quote

from imclass.core.classes import class_key, imagenet_classes, imagenet_numbers
from imclass.core.errors import UserError
from imclass.data.sets.table import text_of

VALIDATION_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})")
# In a list without image names, line n is the label of validation image n.
LABEL_FILES = {
    "LOC_val_solution.csv": "from Kaggle",
    "*validation_ground_truth.txt": "from the development kit",  # the kit's numbers of the classes, from 1
    "val.txt": "from Caffe's caffe_ilsvrc12.tar.gz",  # image names, and positions in the standard order, from 0
    "imagenet_2012_validation_synset_labels.txt": "from TensorFlow's models",  # WordNet ids
}


@cache
def classes_by_id() -> Mapping[str, str]:
    """Return the 1,000 classes, keyed by WordNet id."""
    return {class_key(name): name for name in imagenet_classes()}


def class_named(name: str, where: Path | str) -> str:
    """Return the class denoted by a WordNet id or by the name of a class folder."""
    found = classes_by_id().get(class_key(name))
    if found is None:
        raise UserError(
            f"{where}: {name!r} is not the WordNet id of one of the 1,000 classes of ILSVRC-2012, such as n01440764; "
            "remove or correct it"
        )
    return found


def find_labels(root: Path, base: Path, images: Path) -> Path:
    """Return the file of labels in the tree, the folder with train and val, or the folder of the development kit.

    Kaggle's archive has its file three levels above the folder with train and val. If there is no file, raise a
    `UserError` that names the folder of the images.
    """
    places = [root, base, *sorted(root.glob("*devkit*/data"))]
    if base.resolve().match("ILSVRC/Data/CLS-LOC"):
        places.append(base.resolve().parents[2])
    found = [file for pattern in LABEL_FILES for place in places for file in sorted(place.glob(pattern))]
    if found:
        return found[0]
    kit = root / "ILSVRC2012_devkit_t12.tar.gz"
    if kit.is_file():
        fix = f"run: tar -xf {quote(str(kit))} -C {quote(str(root))}"
    else:
        kinds = (f"{name.replace('*', 'ILSVRC2012_')} ({source})" for name, source in LABEL_FILES.items())
        fix = f"copy one of these files to {root}: {', '.join(kinds)}"
    raise UserError(f"the images in {images} have no labels; {fix}")


def read_labels(file: Path) -> dict[int, str]:
    """Return the class of each validation image, keyed by its number, from a file in one of the known forms."""
    by_kit = {number: name for name, number in imagenet_numbers().items()}
    in_order = dict(enumerate(imagenet_classes()))
    labels: dict[int, str] = {}
    for line, text in enumerate(text_of(file, "UTF-8").splitlines(), 1):
        cells = text.replace(",", " ").split()
        if not cells or cells[0] == "ImageId":
            continue
        at = f"{file}, line {line}"
        if len(cells) == 1:
            image, label, numbered = len(labels) + 1, cells[0], by_kit
        else:
            image, label, numbered = image_number(cells[0], at), cells[1], in_order
        if image in labels:
            raise UserError(f"{at}: {cells[0]} is already on an earlier line; keep one")
        labels[image] = numbered_class(int(label), numbered, at) if label.isdecimal() else class_named(label, at)
    return labels


def image_number(name: str, at: str) -> int:
    """Return the number in the name of a validation image."""
    found = VALIDATION_IMAGE.search(name)
    if found is None:
        problem = f"{at}: {name!r} is not a validation image of ILSVRC-2012"
        raise UserError(f"{problem}, such as ILSVRC2012_val_00000001.JPEG; replace the file with the original")
    return int(found[1])


def numbered_class(number: int, numbered: Mapping[int, str], at: str) -> str:
    """Return the class with a number."""
    if number not in numbered:
        why = f"{number:,} is not the number of a class ({min(numbered):,} to {max(numbered):,})"
        raise UserError(f"{at}: {why}; replace the file with the original")
    return numbered[number]
