"""Measures of images with several labels agree with scikit-learn and with counts by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from imclass.evaluation.measures.multi_label import (
    average_precision,
    average_precision_11,
    average_precision_voc,
    binary_cross_entropy,
    exact_match_ratio,
    label_rows,
    macro_means,
    measures,
    micro_means,
)
from imclass.models.thresholds import decide, probabilities
from tests.support.tolerance import assert_near


def random_logits(seed: int, n: int = 200, k: int = 6, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return random logits and marks; a tenth of the marks is -1, and the last class has no images."""
    random = np.random.default_rng(seed)
    marks = (random.random((n, k)) < 0.3).astype(np.int8)
    marks[:, -1] = 0
    scores = (random.normal(size=(n, k)) + marks).astype(np.float32)
    marks[random.random((n, k)) < 0.1] = -1
    return np.round(scores) if ties else scores, marks


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_scikit_learns(seed: int, ties: bool) -> None:
    scores, marks = random_logits(seed, ties=ties)
    rows, expected = label_rows(scores, marks), []
    for k, row in enumerate(rows[:-1]):
        judged = marks[:, k] >= 0
        expected.append(oracle.average_precision_score(marks[judged, k] == 1, scores[judged, k]))
        assert_near(row.ap, expected[-1], within=1e-12)
        assert (row.positives, row.judged) == (np.count_nonzero(marks[:, k] == 1), np.count_nonzero(judged))
    assert math.isnan(rows[-1].ap) and rows[-1].positives == 0
    assert_near(measures(scores, marks)["map"], np.mean(expected), within=1e-12)  # the class without images is left out


def test_marks_that_were_not_judged_change_nothing() -> None:
    """Show also that counting them as "no" would change the measures."""
    scores, marks = random_logits(4)
    other = np.where(marks < 0, np.float32(50), scores)
    assert measures(other, marks) == pytest.approx(measures(scores, marks))
    assert measures(other, np.maximum(marks, 0))["map"] < measures(scores, np.maximum(marks, 0))["map"] - 0.05


@pytest.mark.parametrize(
    ("order", "every_rank", "voc", "eleven"),
    [
        # A positive at rank r counts precision (positives up to r) / (judged images up to r). -1 takes no rank.
        ([-1, 1, 0, -1, 1, 0], (1 + 2 / 3) / 2, (1 + 2 / 3) / 2, (6 * 1 + 5 * 2 / 3) / 11),
        ([-1, -1, 0, -1, 1, -1], 1 / 2, 1 / 2, 1 / 2),
        ([1, -1, 0, 0, 1, -1, 1], (1 + 2 / 4 + 3 / 5) / 3, (1 + 3 / 5 + 3 / 5) / 3, (4 * 1 + 7 * 3 / 5) / 11),
        ([0, -1, 0, -1], math.nan, math.nan, math.nan),  # without positives, the class is left out of the means
    ],
)
def test_average_precisions_by_hand_with_images_that_were_not_judged(
    order: list[int], every_rank: float, voc: float, eleven: float
) -> None:
    """Add a class that ranks perfectly, so that the means over two classes are known as well."""
    n = len(order)
    scores = np.stack([-np.arange(n, dtype=np.float32), np.where(np.arange(n) % 2, -1, 1).astype(np.float32)], axis=1)
    marks = np.stack([np.array(order, np.int8), (np.arange(n) % 2 == 0).astype(np.int8)], axis=1)
    row, found = label_rows(scores, marks)[0], measures(scores, marks)
    assert (row.ap, row.ap_voc, row.ap11) == pytest.approx((every_rank, voc, eleven), rel=1e-12, nan_ok=True)
    means = [1.0 if math.isnan(ap) else (ap + 1) / 2 for ap in (every_rank, voc, eleven)]
    assert [found["map"], found["map_voc"], found["map11"]] == pytest.approx(means, rel=1e-12)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([1, 1, 0, 0], 1.0),
        ([1, 0, 1, 0], (6 * 1 + 5 * 2 / 3) / 11),  # recall 1/2 at 1, recall 1 at 2/3: 0 to 0.5, then 0.6 to 1
        ([0, 0, 0, 1], 1 / 4),
        ([0, 1, 1], 2 / 3),  # at recall 1 precision is higher than at 1/2, and the higher counts for all
        ([1, 0, 0, 1, 0, 0, 1, 0, 0, 1], (3 * 1 + 3 * 1 / 2 + 2 * 3 / 7 + 3 * 2 / 5) / 11),
    ],
)
def test_eleven_recalls_by_hand(order: list[int], expected: float) -> None:
    scores = -np.arange(len(order), dtype=np.float32)
    assert average_precision_11(scores, np.array(order) == 1) == pytest.approx(expected, rel=1e-12)


def test_a_recall_of_exactly_a_tenth_counts_for_it() -> None:
    """Rank three of ten positives first: recall 0.3 is reached there, although 3 x 0.1 exceeds 0.3 in floats."""
    order = [1, 1, 1, *[0] * 100, *[1] * 7]
    found = average_precision_11(-np.arange(110, dtype=np.float32), np.array(order) == 1)
    assert found == pytest.approx((4 * 1 + 7 * 10 / 110) / 11, rel=1e-12) and 3 * 0.1 > 0.3


def test_equal_scores_share_a_place_in_the_ranking() -> None:
    positive = np.array([True, False, False, True])
    for measure in (average_precision, average_precision_voc, average_precision_11):
        assert measure(np.zeros(4), positive) == 0.5
        assert math.isnan(measure(np.zeros(4), np.zeros(4, bool)))


@pytest.mark.parametrize("thresholds", [(), (0.2, 0.4, 0.5, 0.6, 0.7, 0.3)])
def test_f1_precision_and_recall_are_scikit_learns(thresholds: tuple[float, ...]) -> None:
    scores, marks = random_logits(2)
    yes = decide(probabilities(scores), thresholds)
    judged = marks >= 0
    together = oracle.precision_recall_fscore_support(marks[judged] == 1, yes[judged], average="binary")
    found = micro_means(scores, marks, thresholds)
    assert_near([found.precision, found.recall, found.f1], together[:3], within=1e-12)
    each = [
        oracle.precision_recall_fscore_support(marks[judged[:, k], k] == 1, yes[judged[:, k], k], average="binary")[:3]
        for k in range(5)
    ]
    rows = label_rows(scores, marks, thresholds)
    assert_near([[row.precision, row.recall, row.f1] for row in rows[:-1]], each, within=1e-12)
    means = macro_means(rows)
    assert_near([means.precision, means.recall, means.f1], np.mean(each, axis=0), within=1e-12)
    assert [row.threshold for row in rows] == (list(thresholds) or [0.5] * 6)


def test_all_measures_without_unjudged_marks_are_scikit_learns() -> None:
    scores, marks = random_logits(5)
    marks = np.maximum(marks, 0)[:, :-1]
    scores = scores[:, :-1]
    found, yes = measures(scores, marks), scores >= 0
    assert_near(found["map"], oracle.average_precision_score(marks, scores, average="macro"), within=1e-12)
    assert_near(found["micro_f1"], oracle.f1_score(marks, yes, average="micro"), within=1e-12)
    assert_near(found["macro_f1"], oracle.f1_score(marks, yes, average="macro"), within=1e-12)
    assert_near(found["exact"], oracle.accuracy_score(marks, yes), within=1e-12)
    expected = sum(oracle.log_loss(marks[:, k], probabilities(scores)[:, k]) for k in range(5))
    assert_near(found["loss"], expected, within=1e-12)


def test_the_loss_of_confident_mistakes_is_finite() -> None:
    assert binary_cross_entropy(np.array([[-500.0, 500.0]]), np.array([[1, 1]], np.int8)) == pytest.approx(500)
    assert binary_cross_entropy(np.array([[-500.0, 0.0]]), np.array([[-1, 0]], np.int8)) == pytest.approx(math.log(2))


def test_exact_match_counts_only_judged_classes() -> None:
    scores, marks = np.array([[3.0, -3.0], [3.0, 3.0]]), np.array([[1, -1], [1, 0]], np.int8)
    assert exact_match_ratio(scores, marks) == 0.5 and exact_match_ratio(scores, np.abs(marks)) == 0.0


def test_means_without_positives_are_nan() -> None:
    found = measures(np.zeros((3, 2), np.float32), np.zeros((3, 2), np.int8))
    assert (
        math.isnan(found["map"]) and math.isnan(found["macro_f1"]) and found["loss"] == pytest.approx(2 * math.log(2))
    )
