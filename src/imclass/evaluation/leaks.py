"""Recognition of a model's training images by their content, so that they are not scored.

Copies of training images among the test images would make the score too high.
"""

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
    """The images to score in a split, with a record of the training images found in it."""

    dataset: Dataset
    left_out: int = 0  # training images that are not scored
    included: Int64[np.ndarray, "n"] = field(default_factory=lambda: NO_IDS)  # ids of training images that are scored

    def with_counts(self, evaluation: Evaluation) -> Evaluation:
        """Return the evaluation with the numbers of training images that were left out and that were scored."""
        included = int(np.isin(evaluation.ids, self.included).sum())
        return replace(evaluation, total=evaluation.total + self.left_out, left_out=self.left_out, trained_on=included)


def sift(dataset: Dataset, classifiers: Iterable[Classifier], trained: TrainedPolicy) -> SiftedSplit:
    """Return the images to score in a split. `trained` says whether to include the classifiers' training images.

    Raise `UserError` if no image remains. The images are read only if a classifier records its training images.
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
            f"the model was trained on all {len(dataset):,} images in split {dataset.split!r} of "
            f"{dataset.origin.path}, so the score would say nothing about new images. Choose other images with "
            "--data, or score these anyway with --trained include"
        )
    rest = Subset(dataset, np.flatnonzero(~known), dataset.split, dataset.splits)
    return SiftedSplit(rest, left_out=int(known.sum()))


def mark_trained(dataset: Dataset, seen: UInt64[np.ndarray, "_"]) -> SiftedSplit:
    """Return the whole split, with the ids of the images whose content hashes are in `seen`."""
    return SiftedSplit(dataset, included=dataset.ids[recognise(dataset.contents(), seen)])


def trained_contents(classifiers: Iterable[Classifier]) -> UInt64[np.ndarray, "_"]:
    """Return the sorted content hashes of all images that any classifier records as training images."""
    known = merge_contents(classifier.trained_on for classifier in classifiers)
    return np.zeros(0, np.uint64) if known is None else known


def recognise(contents: UInt64[np.ndarray, "N"], seen: UInt64[np.ndarray, "_"]) -> Bool[np.ndarray, "N"]:
    """Return a mask of the images whose content hashes are in `seen`. The mask is false for unreadable images."""
    return np.isin(contents, seen) & ~np.isin(contents, UNREADABLE_CONTENTS)


def leak_notes(training: Dataset, held_out: Sequence[Dataset]) -> tuple[str, ...]:
    """Return a note for each held-out split that shares images with the training split."""
    notes = []
    for part in held_out:
        known = int(recognise(part.contents(), training.contents()).sum())
        if known:
            are, they, them = ("is", "it is", "it") if known == 1 else ("are", "they are", "them")
            what = f"{known:,} of {len(part):,} {part.split} images {are} also in train"
            notes.append(f"{what}; {they} scored during training, but `imclass evaluate` leaves {them} out")
    return tuple(notes)


def is_scored_whole(dataset: Dataset) -> bool:
    """Return whether a split was published with its data set. Such a split is scored in full, as in the papers."""
    return dataset.origin.rule == "published"
