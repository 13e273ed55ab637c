"""Measures of an evaluation, for images with one label each or with any number of labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int64

from imclass.core.contracts import Evaluation, Refused
from imclass.core.errors import UserError
from imclass.core.targets import Link, OneOf, Targets
from imclass.evaluation.measures import multi_label, single_label
from imclass.evaluation.measures.growth import with_old_classes


def evaluation_of(
    classes: tuple[str, ...],
    targets: Targets,
    scores: Float[np.ndarray, "N K"],
    ids: Int64[np.ndarray, "N"],
    total: int,
    refused: tuple[Refused, ...] = (),
    thresholds: Sequence[float] = (),
) -> Evaluation:
    """Return an `Evaluation` with these scores and all measures. `thresholds` are used only with `AnyOf` targets."""
    if isinstance(targets, OneOf):
        measures, main = single_label.measures(scores, targets.numpy()), "top1"
        return Evaluation(classes, targets, scores, ids, total, refused, measures, main)
    measures, main = multi_label.measures(scores, targets.numpy(), thresholds), "map"
    return Evaluation(classes, targets, scores, ids, total, refused, measures, main, tuple(thresholds))


def with_scores(
    evaluation: Evaluation, scores: Float[np.ndarray, "N K"], thresholds: Sequence[float] = ()
) -> Evaluation:
    """Return an evaluation of the same images with other scores or thresholds."""
    e = evaluation
    found = evaluation_of(e.classes, e.targets, scores, e.ids, e.total, e.refused, thresholds)
    return with_old_classes(replace(found, left_out=e.left_out, trained_on=e.trained_on), e.old)


def check_link(link: Link, targets: Targets, data: str) -> None:
    """Raise `UserError` if the model predicts one label per image but images may have several, or vice versa."""
    if link == targets.link:
        return
    if link == "softmax":
        why = f"the model predicts one class for each image, but the images of {data} may have several"
    else:
        why = f"the model predicts any number of classes for an image, but the images of {data} have one each"
    raise UserError(
        f"{why}; train a model on data of this kind (--init starts from this model's weights), or choose other --data"
    )
