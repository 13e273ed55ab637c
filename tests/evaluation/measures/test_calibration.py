"""The calibration error equals a plain loop, and the fitted temperature scipy's minimum."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from imclass.core.errors import UserError
from imclass.evaluation.measures import calibration
from imclass.evaluation.measures.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Reliability,
    fit_temperature,
    reliability,
)
from imclass.evaluation.measures.single_label import confidence, cross_entropy, predictions


def overconfident(gap: float, mistakes: float, n: int = 2000, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return log-scores that favour a class by `gap`, a wrong one for a share `mistakes` of the images; and labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, k, n)
    chosen = np.where(random.random(n) < mistakes, random.integers(0, k, n), labels)
    scores = random.normal(size=(n, k)) * gap / 4
    scores[np.arange(n), chosen] += gap
    return scores.astype(np.float32), labels


def loop(scores: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Compute equation 3 of Guo et al. image by image."""
    sure, right = confidence(scores).tolist(), (predictions(scores) == labels).tolist()
    total = 0.0
    for m in range(1, bins + 1):
        held = [(c, r) for c, r in zip(sure, right, strict=True) if (m - 1) / bins < c <= m / bins]
        if held:
            total += abs(sum(r for _, r in held) - sum(c for c, _ in held)) / len(sure)
    return total


@pytest.mark.parametrize(("gap", "mistakes"), [(1.0, 0.1), (4.0, 0.3), (8.0, 0.6)])
def test_the_calibration_error_is_a_plain_loop(gap: float, mistakes: float) -> None:
    scores, labels = overconfident(gap, mistakes)
    found = reliability(scores, labels)
    assert found.error == pytest.approx(loop(scores, labels), rel=1e-12)
    assert found.counts.sum() == len(labels) and len(found.counts) == 15


def test_a_bin_ends_where_the_next_begins() -> None:
    """Put confidences of exactly 1/2 and 1 into two bins, (0, 1/2] and (1/2, 1]."""
    scores = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1e4], [0.0, 1e4], [0.0, 1e4]], np.float32)
    found = reliability(scores, np.array([0, 1, 1, 1, 0]), bins=2)
    assert found.counts.tolist() == [2, 3]
    assert found.accuracy.tolist() == [0.5, pytest.approx(2 / 3)] and found.confidence.tolist() == [0.5, 1.0]
    assert found.error == pytest.approx(3 / 5 * 1 / 3)


def test_empty_bins_are_nan_and_do_not_count() -> None:
    found = reliability(np.array([[0.0, 1e4]], np.float32), np.array([1]))
    assert math.isnan(found.accuracy[0]) and found.accuracy[14] == 1.0 and found.error == 0.0
    assert Reliability(np.zeros(2, np.int64), np.full(2, math.nan), np.full(2, math.nan)).error == 0.0


@pytest.mark.parametrize("gap", [1.0, 3.0, 10.0, 50.0])
@pytest.mark.parametrize("mistakes", [0.001, 0.01, 0.2, 0.6])
def test_the_temperature_is_scipys_minimum(gap: float, mistakes: float) -> None:
    scores, labels = overconfident(gap, mistakes)
    wide = scores.astype(np.float64)
    best = minimize_scalar(
        lambda log: cross_entropy(wide / math.exp(log), labels), bounds=(-4.6, 4.6), options={"xatol": 1e-9}
    )
    found = fit_temperature(scores, labels)
    assert found == pytest.approx(math.exp(best.x), rel=1e-5)
    assert cross_entropy(wide / found, labels) <= best.fun + 1e-12


def test_newtons_method_alone_would_leave_the_range() -> None:
    """Show that the bracket matters: from temperature 1 the first step of Newton's method leads to a negative one."""
    scores, labels = overconfident(50.0, 0.2)
    slope, curvature = calibration.loss_derivatives(scores, labels, 1.0)
    assert 1.0 - slope / curvature < 0 < fit_temperature(scores, labels)


def test_slopes_are_differences_of_the_cross_entropy() -> None:
    scores, labels = overconfident(2.0, 0.3, n=5000)  # more images than are held at a time
    wide, h = scores.astype(np.float64), 1e-4
    before, here, after = (cross_entropy(wide * b, labels) for b in (0.7 - h, 0.7, 0.7 + h))
    slope, curvature = calibration.loss_derivatives(scores, labels, 0.7)
    assert slope == pytest.approx((after - before) / (2 * h), rel=1e-6)
    assert curvature == pytest.approx((after - 2 * here + before) / h**2, rel=1e-4)


def test_the_temperature_stays_in_its_range() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 300)
    right = np.eye(10, dtype=np.float32)[labels]
    assert fit_temperature(right, labels) == fit_temperature(1000 * right, labels) == MIN_TEMPERATURE
    assert fit_temperature(-right, labels) == MAX_TEMPERATURE
    assert fit_temperature(np.zeros((300, 10), np.float32), labels) == 1.0
    with pytest.raises(UserError, match="cannot be fitted without images"):
        fit_temperature(np.zeros((0, 10), np.float32), labels[:0])


def test_the_temperature_undoes_a_known_one_and_changes_no_ranking() -> None:
    """Draw labels by the probabilities of scores, and multiply the scores by 3: a temperature of 3 undoes that."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, 5)) * 1.5
    noise = random.gumbel(size=scores.shape)  # the class of the highest sum is a draw from the softmax
    labels, sure = (scores + noise).argmax(axis=1), (3 * scores).astype(np.float32)
    found = fit_temperature(sure, labels)
    assert found == pytest.approx(3.0, rel=0.03)
    mild = (sure / found).astype(np.float32)
    assert (predictions(mild) == predictions(sure)).all()
    assert reliability(mild, labels).error < 0.02 < 0.15 < reliability(sure, labels).error
