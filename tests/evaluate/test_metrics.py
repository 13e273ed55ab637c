"""Metrics against scikit-learn and plain loops."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from imclass.evaluate.metrics import confusion, cross_entropy, per_class, predictions, top_k, wilson


def scored(n: int = 500, k: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, k)).astype(np.float32), random.integers(0, k, n)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_top_k_is_scikit_learns(k: int) -> None:
    scores, labels = scored()
    expected = oracle.top_k_accuracy_score(labels, scores, k=k, normalize=False, labels=np.arange(7))
    assert top_k(scores, labels, k) == expected


def test_ties_go_to_the_lower_index() -> None:
    scores = np.zeros((4, 4), np.float32)
    assert [top_k(scores, np.arange(4), k) for k in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert predictions(scores).tolist() == [0, 0, 0, 0]


def test_top_k_is_a_plain_loop_where_scores_tie() -> None:
    random = np.random.default_rng(1)
    scores, labels = random.integers(0, 4, (300, 9)).astype(np.float32), random.integers(0, 9, 300)
    for k in (1, 3, 5):
        ranked = [[c for _, c in sorted((-score, c) for c, score in enumerate(row))][:k] for row in scores.tolist()]
        assert top_k(scores, labels, k) == sum(label in best for label, best in zip(labels, ranked, strict=True))


def test_top_k_of_all_classes_is_everything() -> None:
    scores, labels = scored(k=3)
    assert top_k(scores, labels, 5) == len(labels)


def test_top_one_is_the_trace_of_the_confusion_matrix() -> None:
    scores, labels = scored()
    scores = scores.round()  # many ties: both must break them alike
    assert confusion(predictions(scores), labels, 7).trace() == top_k(scores, labels, 1)


def test_cross_entropy_is_scikit_learns_and_torchs() -> None:
    scores, labels = scored()
    posteriors = torch.from_numpy(scores).double().softmax(1).numpy()
    loss = cross_entropy(scores, labels)
    assert loss == pytest.approx(oracle.log_loss(labels, posteriors, labels=np.arange(7)), abs=1e-12)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(scores).double(), torch.from_numpy(labels))
    assert loss == pytest.approx(float(expected), abs=1e-12)


def test_cross_entropy_survives_scores_whose_exponentials_do_not() -> None:
    scores = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        naive = np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))
    assert not np.isfinite(naive).all()  # the guard matters
    assert cross_entropy(scores, np.array([1, 1])) == 5000.0


def test_cross_entropy_leaves_the_scores_alone() -> None:
    scores = np.ones((3, 2))
    cross_entropy(scores, np.zeros(3, np.int64))
    assert (scores == 1).all()


def test_confusion_is_scikit_learns() -> None:
    scores, labels = scored()
    predicted = predictions(scores)
    found = confusion(predicted, labels, 9)  # two classes have neither images nor predictions
    assert (found == oracle.confusion_matrix(labels, predicted, labels=range(9))).all()
    assert found.sum() == 500 and found.shape == (9, 9)


def test_per_class_is_scikit_learns() -> None:
    scores, labels = scored(60)
    labels = np.where(labels == 3, 2, labels)  # class 3 has no images, but predictions
    predicted = np.where(predictions(scores) == 5, 6, predictions(scores))  # class 5 has images, but no predictions
    rows = per_class(confusion(predicted, labels, 8))  # class 7 has neither
    expected = oracle.precision_recall_fscore_support(labels, predicted, labels=range(8), zero_division=np.nan)
    found = np.array([(r.precision, r.recall, r.f1, r.support) for r in rows]).T
    np.testing.assert_allclose(found, np.array(expected, float), atol=1e-12)
    assert math.isnan(rows[3].recall) and math.isnan(rows[5].precision) and math.isnan(rows[7].f1)
    assert rows[5].f1 == 0.0


def test_wilson_solves_its_own_equation() -> None:
    """The ends are the shares p with |p - hits/n| = z sqrt(p (1 - p) / n)."""
    for hits, n in ((984, 1000), (1, 7), (50, 100)):
        for end in wilson(hits, n):
            assert abs(end - hits / n) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / n), abs=1e-12)


def test_wilson_at_the_ends() -> None:
    low, high = wilson(10, 10)
    assert high == 1.0 and 0.7 < low < 0.75
    assert wilson(0, 10) == (0.0, pytest.approx(1 - low))
    assert wilson(0, 0) == (0.0, 1.0)
