"""Calibration: the gap between a model's confidence and its accuracy, and the temperature that reduces it.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from imclass.core.errors import UserError
from imclass.evaluation.measures.single_label import IMAGES_PER_CHUNK, confidence, predictions

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0  # the range of `fit_temperature`
MAX_NEWTON_STEPS = 100  # about ten are needed


@dataclass(frozen=True)
class Reliability:
    """Images grouped by prediction confidence into bins of equal width. The means of an empty bin are nan."""

    counts: Int64[np.ndarray, "bins"]
    confidence: Float64[np.ndarray, "bins"]  # mean
    accuracy: Float64[np.ndarray, "bins"]

    @property
    def error(self) -> float:
        """Return the expected calibration error (equation 3).

        This is the mean gap between confidence and accuracy in a bin, with each bin weighted by its number of images.
        """
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.nansum(gaps * self.counts) / max(1, self.counts.sum()))


def reliability(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"], bins: int = 15) -> Reliability:
    """Return the accuracy and mean confidence in each bin. Bin m covers ((m-1)/bins, m/bins] (section 2)."""
    sure, right = confidence(scores), predictions(scores) == labels
    # A probability lies in (0, 1], but as a float it may exceed 1 by a rounding error.
    places = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), sure, side="left") - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    divisors = np.where(counts, counts, math.nan)
    means = (np.bincount(places, weights=values, minlength=bins) / divisors for values in (sure, right))
    return Reliability(counts.astype(np.int64), *means)


def fit_temperature(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"]) -> float:
    """Return the temperature from 0.01 to 100 that gives the lowest cross-entropy (section 4.2). Use validation images.

    Cross-entropy is convex in b = 1 / temperature, so its slope has at most one root. Newton's method finds the root,
    with a bisection step wherever a Newton step would leave the bracket. If the range contains no root, the result is
    an end of the range: the lowest temperature if every prediction is correct, the highest if the scores are
    uninformative. If every image has equal scores for all classes, the result is 1. Raise `UserError` if there are no
    images.
    """
    if not len(labels):
        raise UserError("a temperature cannot be fitted without images; use a validation split that has images")
    low, high, b = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE, 1.0
    lowest, highest = loss_derivatives(scores, labels, low)[0], loss_derivatives(scores, labels, high)[0]
    if lowest >= 0 or highest <= 0:
        return 1.0 if lowest == highest else MAX_TEMPERATURE if lowest >= 0 else MIN_TEMPERATURE
    for _ in range(MAX_NEWTON_STEPS):
        slope, curvature = loss_derivatives(scores, labels, b)
        low, high = (b, high) if slope < 0 else (low, b)
        step = b - slope / curvature if curvature > 0 else math.nan
        if abs(step - b) <= 1e-9 * b:
            break
        b = step if low < step < high else math.sqrt(low * high)
    return 1 / b


def loss_derivatives(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"], b: float) -> tuple[float, float]:
    """Return the first and second derivatives, with respect to `b`, of the mean cross-entropy of b * scores.

    The derivatives are the means over images of E[s - s_true] and of Var[s]. E and Var are taken over the classes,
    weighted by their probabilities. The difference is taken before the expectation, because E[s] and s_true are nearly
    equal if a class is almost certain, and subtracting one from the other would leave only rounding errors.
    """
    first = second = 0.0
    for start in range(0, len(scores), IMAGES_PER_CHUNK):
        part = scores[start : start + IMAGES_PER_CHUNK].astype(np.float64)
        part -= np.take_along_axis(part, labels[start : start + IMAGES_PER_CHUNK, None], axis=1)
        chances = np.exp(b * (part - part.max(axis=1, keepdims=True)))
        chances /= chances.sum(axis=1, keepdims=True)
        mean = (chances * part).sum(axis=1, keepdims=True)
        first += float(mean.sum())
        second += float((chances * np.square(part - mean)).sum())
    return first / len(scores), second / len(scores)
