"""Fitted thresholds have the highest F1, and decide which classes an image has."""

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.models.thresholds import (
    best_threshold,
    decide,
    fit_thresholds,
    name_classes,
    present_classes,
    probabilities,
)
from tests.support.viewers import Constant

SCORES = torch.tensor([[0.0, 2.0, -1.0], [-2.0, -3.0, -4.0]])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_has_a_higher_f1(seed: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    marks = random.integers(-1, 2, (80, 3)).astype(np.int8)
    scores = (2 * random.normal(size=(80, 3)) + marks).astype(np.float32)
    scores = np.round(scores) if ties else scores
    fitted = fit_thresholds(scores, marks)
    chances = probabilities(scores)
    for k in range(3):
        judged = marks[:, k] >= 0
        positive, chance = marks[judged, k] == 1, chances[judged, k]
        precision, recall, _ = oracle.precision_recall_curve(positive, chance)
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
        assert oracle.f1_score(positive, chance >= fitted[k]) == pytest.approx(best, rel=1e-12)


def test_a_threshold_lies_between_two_scores_or_below_the_lowest() -> None:
    scores, positive = np.array([3.0, 1.0, -1.0, -3.0]), np.array([True, True, False, False])
    assert best_threshold(scores, positive) == pytest.approx(0.5)
    lowest = probabilities(scores[None])[0, -1]
    assert 0.98 * lowest < best_threshold(scores, np.ones(4, bool)) < lowest
    assert best_threshold(scores, np.zeros(4, bool)) == 0.5
    assert (decide(probabilities(scores[None]), [best_threshold(scores, np.ones(4, bool))] * 4)).all()


def test_an_image_has_the_classes_that_reach_their_thresholds() -> None:
    half, low = present_classes(SCORES, "abc"), present_classes(SCORES, "abc", (0.6, 0.9, 0.1))
    assert [[name for name, _ in row] for row in half] == [["b", "a"], []]
    assert [[name for name, _ in row] for row in low] == [["c"], []]
    assert half[0][1] == ("a", 0.5) and half[0][0][1] == pytest.approx(1 / (1 + np.exp(-2)))


def test_the_link_decides_the_classes_named_unless_top_is_set() -> None:
    several = Constant(Preprocess(8), link="sigmoid")
    assert [len(row) for row in name_classes(several, SCORES)] == [2, 0]
    assert [name for name, _ in name_classes(several, SCORES, 3)[1]] == ["a", "b", "c"]
    one = Constant(Preprocess(8))
    assert [len(row) for row in name_classes(one, SCORES)] == [3, 3]
    assert sum(p for _, p in name_classes(one, SCORES)[0]) == pytest.approx(1)
    with pytest.raises(UserError, match="top is 0"):
        name_classes(several, SCORES, 0)
