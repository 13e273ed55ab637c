"""Checks before the first step of a run: whether the classes can be learned and the splits can be scored."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from imclass.core.classes import check_classes
from imclass.core.contracts import Dataset
from imclass.core.errors import BadImage, UserError
from imclass.core.text import list_names, printable_text
from imclass.data.threads import attempt


def check_learnable(training: Dataset) -> None:
    """Raise `UserError` unless there are at least two classes and each class with images has a readable image.

    The images of a class are decoded only until one of them can be read.
    """
    if len(training.classes) == 1:
        raise UserError(single_class_problem(training))
    check_classes(training.classes, training.origin.path)
    for name, positions in zip(training.classes, training.targets.by_class(len(training.classes)), strict=True):
        if len(positions):
            check_any_readable(training, positions, f"class {name!r} of {training.origin.path} cannot be learned")


def check_scorable(held_out: Sequence[Dataset]) -> None:
    """Raise `UserError` unless each split has at least one readable image and at least one labelled image."""
    for dataset in held_out:
        problem = f"split {dataset.split!r} of {dataset.origin.path} cannot be scored"
        if len(dataset) and not dataset.targets.counts(len(dataset.classes)).any():
            raise UserError(f"{problem}: none of its images has a label; add labelled images")
        check_any_readable(dataset, np.arange(len(dataset)), problem)


def single_class_problem(training: Dataset) -> str:
    """Return the message for data with only one class.

    If the folder of that class has several subfolders, these may be the real classes, so the message suggests giving
    that folder.
    """
    (name,) = training.classes
    path = training.origin.path
    why = f"{path}: a classifier needs at least two classes, but there is only {name!r}"
    names = (training.name(i).split("/") for i in range(len(training)))
    folders = sorted({parts[1] for parts in names if len(parts) > 2})
    if not training.origin.has_splits and len(folders) > 1:
        return f"{why}, with the folders {list_names(folders, 3)}; if these are classes or splits, give {path}/{name}"
    return f"{why}; make one folder per class"


def check_any_readable(dataset: Dataset, positions: Int64[np.ndarray, "N"], problem: str) -> None:
    """Raise `UserError` if none of the images at `positions` can be read. The message begins with `problem`."""
    if dataset.array is not None and len(positions):
        return
    refused: list[BadImage] = []
    for i in positions.tolist():
        item = attempt(dataset, lambda image: image, i)
        if not isinstance(item, BadImage):
            return
        refused.append(item)
    if not refused:
        raise UserError(
            f"{problem}: it has no images, because none is held out from a class that has only one image; add images"
        )
    first = printable_text(str(refused[0]))
    why = f"none of its {len(refused):,} images can be read (the first: {first})"
    raise UserError(f"{problem}: {why}; replace the images, or remove the folder")
