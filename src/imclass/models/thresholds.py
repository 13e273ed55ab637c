"""From the probabilities of classes to the classes that an image has: those that reach their thresholds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int8
from torch import Tensor

from imclass.core.contracts import Classifier
from imclass.models.scores import ClassProbabilities, posterior, top_classes

DEFAULT_THRESHOLD = 0.5  # the threshold of a class for which none was fitted
MARGIN = 0.01  # of a logit, below the lowest
DEFAULT_TOP = 5  # classes named of an image that has one


def probabilities(scores: Float[np.ndarray, "N K"]) -> Float64[np.ndarray, "N K"]:
    """Return the sigmoid of logits."""
    chances: np.ndarray = posterior(torch.from_numpy(scores), "sigmoid").numpy()
    return chances


def decide(chances: Float64[np.ndarray, "N K"], thresholds: Sequence[float] = ()) -> Bool[np.ndarray, "N K"]:
    """Return which classes each image has: those whose probability is at least their threshold."""
    found: np.ndarray = chances >= (np.asarray(thresholds) if len(thresholds) else DEFAULT_THRESHOLD)
    return found


def name_classes(classifier: Classifier, scores: Float[Tensor, "N K"], top: Any = None) -> list[ClassProbabilities]:
    """Return what a classifier answers to images with these scores: classes with probabilities, the highest first.

    They are the `top` most probable. Without a number they are five, or the classes that the image has where it may
    have several, possibly none.
    """
    if top is None and classifier.link == "sigmoid":
        return present_classes(scores, classifier.classes, classifier.thresholds)
    return top_classes(scores, classifier.classes, DEFAULT_TOP if top is None else top, classifier.link)


def present_classes(
    scores: Float[Tensor, "N K"], classes: Sequence[str], thresholds: Sequence[float] = ()
) -> list[ClassProbabilities]:
    """Return the classes that each row of logits has, with their probabilities, the most probable first."""
    chances = posterior(scores, "sigmoid").numpy()
    return [
        [(classes[k], float(row[k])) for k in np.argsort(-row, kind="stable").tolist() if has[k]]
        for row, has in zip(chances, decide(chances, thresholds), strict=True)
    ]


def precision_recall(
    scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]
) -> tuple[Float64[np.ndarray, "m"], Float64[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Return precision and recall of the images down to each distinct score, the highest first, and these scores.

    There must be a positive.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[ends]
    return hits / (ends + 1), hits / positive.sum(), scores[order][ends]


def fit_thresholds(scores: Float[np.ndarray, "N K"], marks: Int8[np.ndarray, "N K"]) -> tuple[float, ...]:
    """Return for each class the threshold of the highest F1 on these images, which must not be those reported.

    It lies in the middle between two logits, or just below the lowest one. Of equal F1 the highest threshold is taken.
    A class without images keeps 0.5. Images of which a class was not judged are left out.
    """
    judged = marks >= 0
    return tuple(
        best_threshold(scores[judged[:, k], k], marks[judged[:, k], k] == 1) for k in range(scores.shape[1])
    )  # fmt: skip


def best_threshold(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """Return the threshold of the highest F1 of one class."""
    if not positive.any():
        return DEFAULT_THRESHOLD
    precision, recall, ends = precision_recall(scores, positive)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    at = int(f1.argmax())
    below = np.append(ends.astype(np.float64), ends[-1] - MARGIN)  # rounding must not move the lowest out
    logit = below[at : at + 2].mean()
    return float(probabilities(np.full((1, 1), logit))[0, 0])
