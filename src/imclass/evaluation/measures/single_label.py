"""Measures for images with one label each. Counts are exact integers; means are computed in float64."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Integer

from imclass.models.scores import posterior

IMAGES_PER_CHUNK = 4096  # images whose class probabilities are in memory at once


def ranks(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
    """Return the rank of each image's true class, with 1 for the highest score; ties go to the lower class index."""
    true = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return 1 + np.count_nonzero((scores > true) | ((scores == true) & earlier), axis=1).astype(np.int64)


def top_k_hits(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"], k: int) -> int:
    """Return how many images have their true class among the `k` highest scores. Ties are broken as in `ranks`."""
    return int(np.count_nonzero(ranks(scores, labels) <= k))


def predictions(scores: Float[np.ndarray, "N K"]) -> Int64[np.ndarray, "N"]:
    """Return the class with the highest score for each image; ties go to the lower class index."""
    return scores.argmax(axis=1).astype(np.int64)


def cross_entropy(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"]) -> float:
    """Return the negative natural logarithm of the true class's probability, averaged over images in float64."""
    shifted = np.subtract(scores, scores.max(axis=1, keepdims=True), dtype=np.float64)
    true = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    return float(np.mean(np.log(np.exp(shifted, out=shifted).sum(axis=1)) - true))


def posterior_chunks(scores: Float[np.ndarray, "N K"]) -> Iterator[tuple[slice, Float64[np.ndarray, "n K"]]]:
    """Yield the softmax of log-scores, one chunk of images at a time, with the slice that selects these images."""
    for start in range(0, len(scores), IMAGES_PER_CHUNK):
        part = slice(start, start + IMAGES_PER_CHUNK)
        yield part, posterior(torch.from_numpy(scores[part])).numpy()


def brier_score(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"]) -> float:
    """Return the squared distance between probabilities and truth, summed over classes and averaged over images.

    A score of 0 is the best and 2 the worst. This is P in G. W. Brier, "Verification of forecasts expressed in terms of
    probability", Monthly Weather Review 78, 1950. For two classes it is twice what is often called the Brier score.
    """
    total = 0.0
    for part, chances in posterior_chunks(scores):
        chances[np.arange(len(chances)), labels[part]] -= 1
        total += float(np.square(chances).sum())
    return total / len(labels)


def confidence(scores: Float[np.ndarray, "N K"]) -> Float64[np.ndarray, "N"]:
    """Return the probability of each image's predicted class."""
    return np.concatenate([np.zeros(0), *(chances.max(axis=1) for _, chances in posterior_chunks(scores))])


def confusion_counts(
    predicted: Int64[np.ndarray, "N"], labels: Int64[np.ndarray, "N"], k: int
) -> Int64[np.ndarray, "K K"]:
    """Count images by true class (rows) and predicted class (columns), for `k` classes."""
    return np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k).astype(np.int64)


@dataclass(frozen=True)
class ClassRow:
    """The measures of one class, computed from a confusion matrix. A ratio of 0/0 is nan."""

    support: int  # number of images in this class
    precision: float
    recall: float
    f1: float


def class_rows(confusion: Int64[np.ndarray, "K K"]) -> tuple[ClassRow, ...]:
    """Return the support, precision, recall and F1 for each class."""
    counts = zip(confusion.diagonal().tolist(), confusion.sum(1).tolist(), confusion.sum(0).tolist(), strict=True)
    return tuple(
        ClassRow(support, ratio(hits, predicted), ratio(hits, support), ratio(2 * hits, support + predicted))
        for hits, support, predicted in counts
    )


def mean_recall(
    hits: Integer[np.ndarray, "*draws K"], support: Integer[np.ndarray, "*draws K"]
) -> Float64[np.ndarray, "*draws"]:
    """Return the mean of hits / support over the classes that have images, which all have equal weight."""
    shares = hits / np.maximum(support, 1)
    return np.asarray(shares.sum(axis=-1) / np.maximum(np.count_nonzero(support, axis=-1), 1))


def balanced_accuracy(predicted: Int64[np.ndarray, "N"], labels: Int64[np.ndarray, "N"], k: int) -> float:
    """Return the mean recall of the classes that have images, or nan if there are no images."""
    hits, support = (np.bincount(some, minlength=k) for some in (labels[predicted == labels], labels))
    return float(mean_recall(hits, support)) if len(labels) else math.nan


def macro_f1(predicted: Int64[np.ndarray, "N"], labels: Int64[np.ndarray, "N"], k: int) -> float:
    """Return the mean F1 of the classes that have images or are predicted, or nan if there are no images."""
    hits = np.bincount(labels[predicted == labels], minlength=k)
    either = np.bincount(labels, minlength=k) + np.bincount(predicted, minlength=k)
    return float((2 * hits[either > 0] / either[either > 0]).mean()) if len(labels) else math.nan


def confused_pairs(confusion: Int64[np.ndarray, "K K"], max_pairs: int) -> tuple[tuple[int, int, int, int], ...]:
    """Return the most frequent confusions as (true class, predicted class, number of images, size of true class)."""
    mistakes, support = confusion - np.diag(confusion.diagonal()), confusion.sum(axis=1)
    worst = [divmod(i, len(confusion)) for i in np.argsort(-mistakes, axis=None, kind="stable")[:max_pairs].tolist()]
    return tuple((t, p, int(mistakes[t, p]), int(support[t])) for t, p in worst if mistakes[t, p])


def ratio(part: int, whole: int) -> float:
    """Return `part` / `whole`, or nan if `whole` is 0."""
    return part / whole if whole else math.nan


def measures(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"]) -> Mapping[str, float]:
    """Return the mean cross-entropy (natural logarithm), and the accuracies and macro F1 in [0, 1]."""
    predicted, k = predictions(scores), scores.shape[1]
    return {
        "loss": cross_entropy(scores, labels),
        "top1": top_k_hits(scores, labels, 1) / len(labels),
        "top5": top_k_hits(scores, labels, 5) / len(labels),
        "balanced": balanced_accuracy(predicted, labels, k),
        "macro_f1": macro_f1(predicted, labels, k),
    }
