"""Measures of images with one label agree with scikit-learn and with plain loops."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from imclass.evaluation.measures.single_label import (
    balanced_accuracy,
    brier_score,
    class_rows,
    confidence,
    confused_pairs,
    confusion_counts,
    cross_entropy,
    macro_f1,
    measures,
    predictions,
    ranks,
    top_k_hits,
)
from tests.support.tolerance import assert_near


def random_scores(n: int = 500, k: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, k)).astype(np.float32), random.integers(0, k, n)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_top_k_is_scikit_learns(k: int) -> None:
    scores, labels = random_scores()
    expected = oracle.top_k_accuracy_score(labels, scores, k=k, normalize=False, labels=np.arange(7))
    assert top_k_hits(scores, labels, k) == expected


def test_ties_go_to_the_lower_index() -> None:
    scores = np.zeros((4, 4), np.float32)
    assert [top_k_hits(scores, np.arange(4), k) for k in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert predictions(scores).tolist() == [0, 0, 0, 0]


def test_top_k_is_a_plain_loop_where_scores_tie() -> None:
    random = np.random.default_rng(1)
    scores, labels = random.integers(0, 4, (300, 9)).astype(np.float32), random.integers(0, 9, 300)
    for k in (1, 3, 5):
        ranked = [[c for _, c in sorted((-score, c) for c, score in enumerate(row))][:k] for row in scores.tolist()]
        assert top_k_hits(scores, labels, k) == sum(label in best for label, best in zip(labels, ranked, strict=True))


def test_top_k_of_all_classes_is_everything() -> None:
    scores, labels = random_scores(k=3)
    assert top_k_hits(scores, labels, 5) == len(labels)


def test_top_one_is_the_trace_of_the_confusion_matrix() -> None:
    scores, labels = random_scores()
    scores = scores.round()  # many ties: both must break them the same way
    assert confusion_counts(predictions(scores), labels, 7).trace() == top_k_hits(scores, labels, 1)


def test_cross_entropy_is_scikit_learns_and_torchs() -> None:
    scores, labels = random_scores()
    posteriors = torch.from_numpy(scores).double().softmax(1).numpy()
    loss = cross_entropy(scores, labels)
    assert loss == pytest.approx(oracle.log_loss(labels, posteriors, labels=np.arange(7)), rel=1e-12)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(scores).double(), torch.from_numpy(labels))
    assert loss == pytest.approx(float(expected), rel=1e-12)


def test_cross_entropy_is_finite_for_scores_whose_exponentials_overflow() -> None:
    scores = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        naive = np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))
    assert not np.isfinite(naive).all()  # the guard matters
    assert cross_entropy(scores, np.array([1, 1])) == 5000.0


def test_cross_entropy_does_not_change_the_scores() -> None:
    scores = np.ones((3, 2))
    cross_entropy(scores, np.zeros(3, np.int64))
    assert (scores == 1).all()


def test_confusion_is_scikit_learns() -> None:
    scores, labels = random_scores()
    predicted = predictions(scores)
    found = confusion_counts(predicted, labels, 9)  # two classes have neither images nor predictions
    assert (found == oracle.confusion_matrix(labels, predicted, labels=range(9))).all()
    assert found.sum() == 500 and found.shape == (9, 9)


def test_per_class_is_scikit_learns() -> None:
    scores, labels = random_scores(60)
    labels = np.where(labels == 3, 2, labels)  # class 3 has no images, but predictions
    predicted = np.where(predictions(scores) == 5, 6, predictions(scores))  # class 5 has images, but no predictions
    rows = class_rows(confusion_counts(predicted, labels, 8))  # class 7 has neither
    expected = oracle.precision_recall_fscore_support(labels, predicted, labels=range(8), zero_division=np.nan)
    found = np.array([(r.precision, r.recall, r.f1, r.support) for r in rows]).T
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1e-12)
    assert math.isnan(rows[3].recall) and math.isnan(rows[5].precision) and math.isnan(rows[7].f1)
    assert rows[5].f1 == 0.0


def test_ranks_are_positions_in_a_stable_sort() -> None:
    random = np.random.default_rng(2)
    scores, labels = random.integers(0, 4, (200, 6)).astype(np.float32), random.integers(0, 6, 200)
    places = [
        sorted((-score, c) for c, score in enumerate(row)).index((-row[label], label)) + 1
        for row, label in zip(scores.tolist(), labels.tolist(), strict=True)
    ]
    assert ranks(scores, labels).tolist() == places


def test_brier_is_a_plain_loop_and_twice_scikit_learns_for_two_classes() -> None:
    scores, labels = random_scores(5000, 2)  # more images than are held at a time
    posteriors = torch.from_numpy(scores).double().softmax(1).numpy()
    assert brier_score(scores, labels) == pytest.approx(
        2 * oracle.brier_score_loss(labels, posteriors[:, 1]), rel=1e-12
    )
    scores, labels = random_scores(50)
    rows = torch.from_numpy(scores).double().softmax(1).tolist()
    loop = sum((p - (k == label)) ** 2 for row, label in zip(rows, labels, strict=True) for k, p in enumerate(row))
    assert brier_score(scores, labels) == pytest.approx(loop / 50, rel=1e-12)


def test_brier_score_of_the_best_and_the_worst() -> None:
    labels = np.array([0, 1])
    assert brier_score(np.array([[1e4, 0.0], [0.0, 1e4]], np.float32), labels) == 0.0
    assert brier_score(np.array([[0.0, 1e4], [1e4, 0.0]], np.float32), labels) == 2.0


def test_confidence_is_the_highest_probability() -> None:
    scores, _ = random_scores(5000)
    expected = torch.from_numpy(scores).double().softmax(1).amax(1).numpy()
    assert_near(confidence(scores), expected, within=1e-12)


def test_balanced_accuracy_and_macro_f1_are_those_of_scikit_learn() -> None:
    scores, labels = random_scores(200)
    labels = np.where(labels == 3, 2, labels)  # a class without images does not count
    predicted = np.where(predictions(scores) == 3, 2, predictions(scores))
    found = balanced_accuracy(predicted, labels, 7)
    assert found == pytest.approx(oracle.balanced_accuracy_score(labels, predicted), rel=1e-12)
    for some in (predicted, predictions(scores)):  # the F1 of a class that is only predicted is 0
        assert macro_f1(some, labels, 7) == pytest.approx(oracle.f1_score(labels, some, average="macro"), rel=1e-12)
    whole = measures(scores, labels)
    assert whole["balanced"] == balanced_accuracy(predictions(scores), labels, 7)
    assert whole["macro_f1"] == macro_f1(predictions(scores), labels, 7)
    assert all(math.isnan(f(labels[:0], labels[:0], 7)) for f in (balanced_accuracy, macro_f1))


def test_most_confused_pairs_are_those_of_a_sort() -> None:
    scores, labels = random_scores(300, 5)
    counts = confusion_counts(predictions(scores), labels, 5)
    cells = [(-counts[t, p], t, p) for t in range(5) for p in range(5) if t != p]
    assert confused_pairs(counts, 4) == tuple((t, p, -n, (labels == t).sum()) for n, t, p in sorted(cells)[:4])
    assert confused_pairs(np.diag([3, 2]), 4) == ()
