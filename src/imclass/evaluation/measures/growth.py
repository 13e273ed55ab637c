"""Measures of a grown model, separate for the classes that it had before and for its new classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imclass.core.classes import class_key
from imclass.core.contracts import Classifier, Evaluation
from imclass.core.targets import OneOf
from imclass.evaluation.measures.multi_label import average_precision, mean_of
from imclass.evaluation.measures.single_label import top_k_hits


@dataclass(frozen=True)
class GroupMeasure:
    """The main measure over the images of the old or the new classes."""

    name: str  # old or new
    images: int
    main: float  # top-1 accuracy, or mean average precision; nan without images


def group_measures(evaluation: Evaluation) -> tuple[GroupMeasure, ...]:
    """Return the main measure of the old and of the new classes, or an empty tuple if the model did not grow.

    If images may have several labels, an image counts in each group in which it has a class.
    """
    if not evaluation.old:
        return ()
    keys = set(map(class_key, evaluation.old))
    is_old = np.array([class_key(name) in keys for name in evaluation.classes])
    return (group_measure(evaluation, "old", is_old), group_measure(evaluation, "new", ~is_old))


def group_measure(evaluation: Evaluation, name: str, members: np.ndarray) -> GroupMeasure:
    """Return the main measure of a group. Its classes are those for which `members` is true."""
    scores, targets = evaluation.scores, evaluation.targets.numpy()
    if isinstance(evaluation.targets, OneOf):
        mine = members[targets]
        images = int(mine.sum())
        share = top_k_hits(scores[mine], targets[mine], 1) / images if images else math.nan
        return GroupMeasure(name, images, share)
    judged, positive = targets >= 0, targets == 1
    columns = [k for k in np.flatnonzero(members) if positive[:, k].any()]
    each = [average_precision(scores[judged[:, k], k], positive[judged[:, k], k]) for k in columns]
    return GroupMeasure(name, int(positive[:, members].any(1).sum()), mean_of(each))


def with_old_classes(evaluation: Evaluation, old: Sequence[str]) -> Evaluation:
    """Return the evaluation of a model that had the classes `old` before it grew, with a measure for each group."""
    if not old:
        return evaluation
    known = replace(evaluation, old=tuple(old))
    each = {f"{known.main}_{g.name}": g.main for g in group_measures(known) if g.images}
    return replace(known, measures={**known.measures, **each})


def old_classes(classifier: Classifier) -> tuple[str, ...]:
    """Return the classes that a classifier had before it grew. The result is empty if its parts differ in them."""
    found = {trained.data.cut.old if trained and trained.data else () for trained in classifier.lineage()}
    return found.pop() if len(found) == 1 else ()
