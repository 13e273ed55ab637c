"""Images that a model was trained on, recognised by their content wherever they lie, and kept out of its score."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from imclass.core.contracts import Classifier, Dataset, Evaluation
from imclass.core.errors import UserError
from imclass.core.model_file import merge_contents
from imclass.data.contents import UNREADABLE_CONTENTS
from imclass.data.subset import Subset

TrainedPolicy: TypeAlias = Literal["leave-out", "include"]
NO_IDS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class SiftedSplit:
    """What is scored of a split: `left_out` images that a model was trained on are not, those in `included` are."""

    dataset: Dataset
    left_out: int = 0
    included: Int64[np.ndarray, "n"] = field(default_factory=lambda: NO_IDS)  # ids

    def count(self, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation of the data set that says how many of the split's images a model was trained on."""
        included = int(np.isin(evaluation.ids, self.included).sum())
        return replace(evaluation, total=evaluation.total + self.left_out, left_out=self.left_out, trained_on=included)


def sift(dataset: Dataset, classifiers: Iterable[Classifier], trained: TrainedPolicy) -> SiftedSplit:
    """Return what is scored of a split where images that any of the classifiers was trained on are left out or not.

    Raise `UserError` where that leaves none. Images are read only if it is known what a classifier was trained on.
    """
    seen = trained_contents(classifiers)
    if not len(seen) or not len(dataset):
        return SiftedSplit(dataset)
    if trained == "include":
        return mark_trained(dataset, seen)
    known = recognise(dataset.contents(), seen)
    if not known.any():
        return SiftedSplit(dataset)
    if known.all():
        raise UserError(
            f"the model was trained on each of the {len(dataset):,} images in split {dataset.split!r} of "
            f"{dataset.origin.path}; to score them all the same, give --trained include, else name other images with "
            "--data"
        )
    rest = Subset(dataset, np.flatnonzero(~known), dataset.split, dataset.splits)
    return SiftedSplit(rest, left_out=int(known.sum()))


def mark_trained(dataset: Dataset, seen: UInt64[np.ndarray, "_"]) -> SiftedSplit:
    """Return all of a split, knowing which of its images are among the contents `seen` in training."""
    return SiftedSplit(dataset, included=dataset.ids[recognise(dataset.contents(), seen)])


def trained_contents(classifiers: Iterable[Classifier]) -> UInt64[np.ndarray, "_"]:
    """Return the contents of all images that any of the classifiers is known to have been trained on, sorted."""
    known = merge_contents(classifier.trained_on for classifier in classifiers)
    return np.zeros(0, np.uint64) if known is None else known


def recognise(
    contents: UInt64[np.ndarray, "N"], seen: UInt64[np.ndarray, "_"]
) -> Bool[np.ndarray, "N"]:  # fmt: skip
    """Return which images are among those seen; what could not be read has no content to be known by."""
    return np.isin(contents, seen) & ~np.isin(contents, UNREADABLE_CONTENTS)


def leak_notes(training: Dataset, held_out: Sequence[Dataset]) -> tuple[str, ...]:
    """Return a sentence for each split that has images of the training split."""
    notes = []
    for part in held_out:
        known = int(recognise(part.contents(), training.contents()).sum())
        if known:
            what = f"{known:,} of {len(part):,} {part.split} images are in train as well"
            notes.append(f"{what}; they are scored while training, and `imclass evaluate` leaves them out")
    return tuple(notes)


def is_scored_whole(dataset: Dataset) -> bool:
    """Return whether a split is as its data set was published, and is scored whole as the papers scored it."""
    return dataset.origin.rule == "published"
