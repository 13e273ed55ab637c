"""Probability thresholds that determine which classes are predicted for an image, and functions that fit them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int8
from torch import Tensor

from imclass.core.contracts import Classifier
from imclass.models.scores import ClassProbabilities, posterior, top_classes

DEFAULT_THRESHOLD = 0.5  # the threshold of a class without a fitted one
MARGIN = 0.01  # how far the lowest threshold lies below the lowest logit
DEFAULT_TOP = 5  # the number of classes listed for an image with exactly one class


def probabilities(scores: Float[np.ndarray, "N K"]) -> Float64[np.ndarray, "N K"]:
    """Return the sigmoid of logits."""
    chances: np.ndarray = posterior(torch.from_numpy(scores), "sigmoid").numpy()
    return chances


def decide(chances: Float64[np.ndarray, "N K"], thresholds: Sequence[float] = ()) -> Bool[np.ndarray, "N K"]:
    """Return, for each image and class, whether the probability reaches the class's threshold."""
    found: np.ndarray = chances >= (np.asarray(thresholds) if len(thresholds) else DEFAULT_THRESHOLD)
    return found


def name_classes(classifier: Classifier, scores: Float[Tensor, "N K"], top: Any = None) -> list[ClassProbabilities]:
    """Return the predicted classes for each row of scores, the most probable first.

    These are the `top` most probable classes. If `top` is None, they are the five most probable classes under the link
    "softmax". Under "sigmoid", they are the classes that reach their thresholds, and there may be none.
    """
    if top is None and classifier.link == "sigmoid":
        return present_classes(scores, classifier.classes, classifier.thresholds)
    return top_classes(scores, classifier.classes, DEFAULT_TOP if top is None else top, classifier.link)


def present_classes(
    scores: Float[Tensor, "N K"], classes: Sequence[str], thresholds: Sequence[float] = ()
) -> list[ClassProbabilities]:
    """Return, for each row of logits, the classes that reach their thresholds, the most probable first."""
    chances = posterior(scores, "sigmoid").numpy()
    return [
        [(classes[k], float(row[k])) for k in np.argsort(-row, kind="stable").tolist() if has[k]]
        for row, has in zip(chances, decide(chances, thresholds), strict=True)
    ]


def precision_recall(
    scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]
) -> tuple[Float64[np.ndarray, "m"], Float64[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Return the precision and recall at each distinct score, and these scores, in descending order of score.

    For each score, the images with at least that score count as predicted positive. At least one image must be
    positive.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[ends]
    return hits / (ends + 1), hits / positive.sum(), scores[order][ends]


def fit_thresholds(scores: Float[np.ndarray, "N K"], marks: Int8[np.ndarray, "N K"]) -> tuple[float, ...]:
    """Return, for each class, the threshold that maximises F1 on these images.

    The thresholds fit these images, so results must be reported on other images. A threshold lies halfway between two
    logits, or just below the lowest one. If several thresholds share the best F1, the highest of them is returned. The
    threshold of a class without positive images is 0.5. Images that are not annotated for a class are ignored for that
    class.
    """
    thresholds = []
    for column, column_marks in zip(scores.T, marks.T, strict=True):
        judged = column_marks >= 0
        thresholds.append(best_threshold(column[judged], column_marks[judged] == 1))
    return tuple(thresholds)


def best_threshold(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """Return the threshold that maximises F1 for one class, or 0.5 if no image is positive."""
    if not positive.any():
        return DEFAULT_THRESHOLD
    precision, recall, ends = precision_recall(scores, positive)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    at = int(f1.argmax())
    # The lowest threshold lies below the lowest score by a margin, so that rounding cannot exclude the image with
    # that score.
    below = np.append(ends.astype(np.float64), ends[-1] - MARGIN)
    logit = below[at : at + 2].mean()
    return float(probabilities(np.full((1, 1), logit))[0, 0])
