"""What a run needs of its images, before its first step: classes that can be learned, splits that can be scored."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from imclass.core.classes import check_classes
from imclass.core.contracts import Dataset
from imclass.core.errors import BadImage, UserError
from imclass.core.text import list_names, printable_text
from imclass.data.threads import attempt


def check_learnable(training: Dataset) -> None:
    """Raise `UserError` unless there are two classes, and in each an image that can be read.

    Images are decoded only until one can be read.
    """
    if len(training.classes) == 1:
        raise UserError(single_class_problem(training))
    check_classes(training.classes, training.origin.path)
    for name, positions in zip(training.classes, training.targets.by_class(len(training.classes)), strict=True):
        if len(positions):
            check_any_readable(training, positions, f"class {name!r} of {training.origin.path} cannot be learned")


def check_scorable(held_out: Sequence[Dataset]) -> None:
    """Raise `UserError` unless each split has an image that can be read, and one that has a class."""
    for part in held_out:
        if len(part) and not part.targets.counts(len(part.classes)).any():
            why = f"split {part.split!r} of {part.origin.path} cannot be scored: no image of it has a label"
            raise UserError(f"{why}; add some that have")
        check_any_readable(part, np.arange(len(part)), f"split {part.split!r} of {part.origin.path} cannot be scored")


def single_class_problem(training: Dataset) -> str:
    """Return why one class cannot be trained on, with the folder to give instead if its folders may be the classes."""
    (name,), path = training.classes, training.origin.path
    why = f"{path}: a classifier needs at least two classes, and there is only {name!r}"
    names = (training.name(i).split("/") for i in range(len(training)))
    inside = sorted({parts[1] for parts in names if len(parts) > 2})
    if training.origin.rule.startswith("hash") and len(inside) > 1:
        return f"{why}, with the folders {list_names(inside, 3)}; if these are classes or splits, give {path}/{name}"
    return f"{why}; make one folder per class"


def check_any_readable(dataset: Dataset, positions: Int64[np.ndarray, "N"], problem: str) -> None:
    """Raise `UserError` with this problem unless one of the images at `positions` can be read."""
    if dataset.array is not None and len(positions):
        return
    refused: list[BadImage] = []
    for i in positions.tolist():
        item = attempt(dataset, lambda image: image, i)
        if not isinstance(item, BadImage):
            return
        refused.append(item)
    if not refused:
        raise UserError(f"{problem}: it has no images, as of a class with one image none is held out; add some")
    why = f"none of its {len(refused):,} images can be read, the first: {printable_text(str(refused[0]))}"
    raise UserError(f"{problem}: {why}; replace them, or take the folder out")
