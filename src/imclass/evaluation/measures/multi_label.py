"""Measures for images that may have several labels. Unknown labels (-1 in `marks`) are ignored.

Average precision is computed for each class, from the ranking of the images by their scores for that class, in one of
three forms. In scikit-learn, it is the sum, over all ranks, of the precision times the step in recall. In PASCAL VOC,
each precision is first replaced by the highest precision at that recall or above. Since 2010, VOC then takes the
same sum (development kit of VOC 2010, section 3.4.1). Before, it took the mean at the eleven recalls 0, 0.1 ... 1
(M. Everingham et al., "The PASCAL visual object classes (VOC) challenge", IJCV 88, 2010, section 4.2). Images with
equal scores share a rank.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int8

from imclass.evaluation.measures.single_label import ratio
from imclass.models.thresholds import DEFAULT_THRESHOLD, decide, precision_recall, probabilities


@dataclass(frozen=True)
class LabelRow:
    """The measures of one class: how well its score ranks images, and how well its threshold separates them.

    A ratio of 0/0 is nan.
    """

    positives: int  # number of images that have the class
    judged: int  # number of images for which the class is known to be present or absent
    ap: float
    ap_voc: float  # as in PASCAL VOC since 2010
    ap11: float  # as in PASCAL VOC until 2009, at eleven recalls
    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Means:
    """Overall precision, recall and F1: for all decisions together (micro) or averaged over the classes (macro)."""

    precision: float
    recall: float
    f1: float


def binary_cross_entropy(scores: Float[np.ndarray, "N K"], marks: Int8[np.ndarray, "N K"]) -> float:
    """Return the negative log probability of the known labels, summed over classes and averaged over images."""
    logits = np.where(marks == 1, scores, -scores).astype(np.float64)  # of the label's value, yes or no
    losses = np.where(marks >= 0, np.logaddexp(0, -logits), 0)
    return float(losses.sum(axis=1).mean())


def average_precision(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """Return the sum over all ranks of the precision times the step in recall, or nan if there are no positives."""
    if not positive.any():
        return math.nan
    precision, recall, _ = precision_recall(scores, positive)
    return float((np.diff(recall, prepend=0) * precision).sum())


def average_precision_voc(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """Return the sum over all ranks of the highest precision at that recall or above times the step in recall.

    This is the measure of VOC since 2010. Return nan if there are no positives.
    """
    if not positive.any():
        return math.nan
    precision, recall, _ = precision_recall(scores, positive)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * highest).sum())


def average_precision_11(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """Return the mean, over the recalls 0, 0.1 ... 1, of the highest precision at that recall or above, as in VOC 2007.

    Return nan if there are no positives.
    """
    if not positive.any():
        return math.nan
    precision, recall, _ = precision_recall(scores, positive)
    tenths = np.arange(11) * positive.sum()  # compared in whole numbers, because as floats 3 x 0.1 exceeds 0.3
    reached = np.rint(recall * positive.sum()) * 10
    return float(np.mean([precision[reached >= tenth].max() for tenth in tenths]))


def label_rows(
    scores: Float[np.ndarray, "N K"], marks: Int8[np.ndarray, "N K"], thresholds: Sequence[float] = ()
) -> tuple[LabelRow, ...]:
    """Return the measures of each class."""
    yes = decide(probabilities(scores), thresholds)
    rows = []
    for k in range(scores.shape[1]):
        judged = marks[:, k] >= 0
        some, positive, chosen = scores[judged, k], marks[judged, k] == 1, yes[judged, k]
        hits, taken, held = (int(np.count_nonzero(mask)) for mask in (chosen & positive, chosen, positive))
        rows.append(
            LabelRow(
                positives=held,
                judged=len(positive),
                ap=average_precision(some, positive),
                ap_voc=average_precision_voc(some, positive),
                ap11=average_precision_11(some, positive),
                threshold=thresholds[k] if len(thresholds) else DEFAULT_THRESHOLD,
                precision=ratio(hits, taken),
                recall=ratio(hits, held),
                f1=ratio(2 * hits, taken + held),
            )
        )
    return tuple(rows)


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of the values, or nan if there are none."""
    return math.fsum(values) / len(values) if values else math.nan


def macro_means(rows: Sequence[LabelRow]) -> Means:
    """Return the means over the classes that have images. A class that is never predicted has precision 0."""
    held = [row for row in rows if row.positives]
    precisions = [0.0 if math.isnan(row.precision) else row.precision for row in held]
    return Means(mean_of(precisions), mean_of([row.recall for row in held]), mean_of([row.f1 for row in held]))


def micro_means(
    scores: Float[np.ndarray, "N K"], marks: Int8[np.ndarray, "N K"], thresholds: Sequence[float] = ()
) -> Means:
    """Return the precision, recall and F1 for all decisions together."""
    yes, positive = decide(probabilities(scores), thresholds) & (marks >= 0), marks == 1
    hits, taken, held = (int(np.count_nonzero(mask)) for mask in (yes & positive, yes, positive))
    return Means(ratio(hits, taken), ratio(hits, held), ratio(2 * hits, taken + held))


def exact_match_ratio(
    scores: Float[np.ndarray, "N K"], marks: Int8[np.ndarray, "N K"], thresholds: Sequence[float] = ()
) -> float:
    """Return the fraction of images for which every class with a known label is predicted correctly."""
    right = decide(probabilities(scores), thresholds) == (marks == 1)
    return float((right | (marks < 0)).all(axis=1).mean())


def measures(
    scores: Float[np.ndarray, "N K"], marks: Int8[np.ndarray, "N K"], thresholds: Sequence[float] = ()
) -> Mapping[str, float]:
    """Return all measures keyed by name. `map`, `map_voc` and `map11` are means over the classes that have images."""
    rows = label_rows(scores, marks, thresholds)
    return {
        "loss": binary_cross_entropy(scores, marks),
        "map": mean_of([row.ap for row in rows if row.positives]),
        "map_voc": mean_of([row.ap_voc for row in rows if row.positives]),
        "map11": mean_of([row.ap11 for row in rows if row.positives]),
        "micro_f1": micro_means(scores, marks, thresholds).f1,
        "macro_f1": macro_means(rows).f1,
        "exact": exact_match_ratio(scores, marks, thresholds),
    }
