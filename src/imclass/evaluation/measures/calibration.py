"""Whether a model is right as often as it claims, and the one number that mends it: the temperature.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from imclass.core.errors import UserError
from imclass.evaluation.measures.single_label import IMAGES_PER_CHUNK, confidence, predictions

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0  # temperatures that `fit_temperature` stays between
MAX_NEWTON_STEPS = 100  # of which about ten are taken


@dataclass(frozen=True)
class Reliability:
    """Images in bins of equal width by the confidence of their prediction; nan where a bin has none."""

    counts: Int64[np.ndarray, "bins"]
    confidence: Float64[np.ndarray, "bins"]  # mean
    accuracy: Float64[np.ndarray, "bins"]

    @property
    def error(self) -> float:
        """The expected calibration error: mean gap of confidence and accuracy, weighted by images (equation 3)."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.nansum(gaps * self.counts) / max(1, self.counts.sum()))


def reliability(
    scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"], bins: int = 15
) -> Reliability:  # fmt: skip
    """How often images predicted with such confidence are right; bin m is ((m-1)/bins, m/bins] (section 2)."""
    sure, right = confidence(scores), predictions(scores) == labels
    # a posterior lies in (0, 1], but its float may be a hair more
    places = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), sure, side="left") - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    held = np.where(counts, counts, math.nan)
    means = (np.bincount(places, weights=values, minlength=bins) / held for values in (sure, right))
    return Reliability(counts.astype(np.int64), *means)


def fit_temperature(scores: Float[np.ndarray, "N K"], labels: Int64[np.ndarray, "N"]) -> float:
    """The temperature of the lowest cross-entropy (section 4.2), from 0.01 to 100; fit it on validation images.

    Cross-entropy is convex in b = 1 / temperature, so its slope has one root: Newton's steps, and halving of the
    bracket where they leave it. Where every image is right the slope never turns, and the least temperature is taken;
    where the scores tell nothing, the highest; where they are all the same, 1. Without images it is a `UserError`.
    """
    if not len(labels):
        raise UserError("there is no image to fit a temperature to; give a validation split that has some")
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
    """First and second derivative by `b` of the mean cross-entropy of b * scores: mean of E[s - s_own], and of Var[s].

    Expectation and variance are taken over the classes, under the posterior. The difference is taken first: where a
    class is all but certain, E[s] and s_own would cancel to nothing.
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
