"""Scores and labels to numbers, in plain numpy. Counts are exact integers; means are taken in float64."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64


def top_k(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"], k: int) -> int:
    """How many images have their own class among the `k` highest scores; of equal ones the lower index ranks first."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = np.count_nonzero((scores > own) | ((scores == own) & earlier), axis=1)
    return int(np.count_nonzero(rank < k))


def predictions(scores: Float[np.ndarray, "N K"]) -> Int64[np.ndarray, "N"]:
    """The class of the highest score of each image; of equal scores the lower index."""
    return scores.argmax(axis=1).astype(np.int64)


def cross_entropy(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"]) -> float:
    """Mean over images of minus the log (natural) of the posterior of their own class, in float64."""
    shifted = np.subtract(scores, scores.max(axis=1, keepdims=True), dtype=np.float64)
    own = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    return float(np.mean(np.log(np.exp(shifted, out=shifted).sum(axis=1)) - own))


def confusion(
    predicted: Int64[np.ndarray, "N"], labels: Int64[np.ndarray, "N"], k: int
) -> Int64[np.ndarray, "K K"]:  # fmt: skip
    """Counts of images by true class (rows) and predicted class (columns), for `k` classes."""
    return np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k).astype(np.int64)


@dataclass(frozen=True)
class ClassRow:
    """One class's share of a confusion matrix; a ratio of nothing to nothing is nan."""

    support: int  # images of this class
    precision: float
    recall: float
    f1: float


def per_class(confusion: Int64[np.ndarray, "K K"]) -> tuple[ClassRow, ...]:
    """Support, precision, recall and F1 of each class."""
    counts = zip(confusion.diagonal().tolist(), confusion.sum(1).tolist(), confusion.sum(0).tolist(), strict=True)
    return tuple(
        ClassRow(support, ratio(hits, predicted), ratio(hits, support), ratio(2 * hits, support + predicted))
        for hits, support, predicted in counts
    )


def ratio(part: int, whole: int) -> float:
    """`part` of `whole`, or nan where there is nothing to be a part of."""
    return part / whole if whole else math.nan


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval for a share of `hits` in `n` independent trials; z = 1.96 covers 95 %.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927. Unlike the
    textbook interval it stays inside [0, 1] and has a width at 0 and n hits. Without trials nothing is known: (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    share, widened = hits / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / widened
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / widened
    # at 0 and n hits an end is exactly 0 or 1, which floats would miss by a hair
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)
