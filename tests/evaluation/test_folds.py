"""The results of folds are pooled: each image once, measures over all of them, and the spread over the folds."""

from pathlib import Path

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf, Targets
from imclass.evaluation.folds import pool_folds, read_folds
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.papers.table import RowSubject
from imclass.evaluation.results import Facts, ResultRow, save_scores

FACTS = Facts(("recipe",), RowSubject((), "", "recipe"), "split test of photos", "photos", "test")


def rows(several: bool = False) -> list[ResultRow]:
    """Return the rows of three folds with random scores."""
    random, found = np.random.default_rng(0), []
    for fold, n in enumerate((5, 4, 4)):
        scores = random.normal(size=(n, 3)).astype(np.float32)
        labels = random.integers(3, size=n)
        targets: Targets = AnyOf(np.eye(3, dtype=np.int8)[labels]) if several else OneOf(labels)
        ids = np.arange(n, dtype=np.int64) + 100 * fold
        evaluation = evaluation_of(("a", "b", "c"), targets, scores, ids, n + (fold == 1))
        found.append(ResultRow(f"fold {fold}", evaluation, tuple(f"{7 * i % 211:03d}" for i in ids), FACTS))
    return found


def test_pooled_measures_are_those_of_a_plain_loop() -> None:
    each = rows()
    result = pool_folds(each, "all images")
    right, shares = 0, []
    for row in each:
        hits = 0
        for scores, label in zip(row.evaluation.scores, row.evaluation.targets.numpy(), strict=True):
            hits += int(scores.argmax() == label)
        right += hits
        shares.append(hits / len(row.images))
    assert result.pooled.measures["top1"] == right / 13 and result.pooled.total == 14
    assert [fold.measures["top1"] for fold in result.scores.each] == shares
    assert result.scores.mean("top1") == pytest.approx(np.mean(shares))
    assert result.scores.deviation("top1") == pytest.approx(np.std(shares, ddof=1))
    assert result.interval == wilson_interval(right, 13)
    assert list(result.row.images) == sorted(result.row.images)
    for row in each:  # each image keeps its scores
        for name, scores in zip(row.images, row.evaluation.scores, strict=True):
            assert (result.pooled.scores[result.row.images.index(name)] == scores).all()


def test_folds_with_several_labels_are_pooled_without_an_interval() -> None:
    result = pool_folds(rows(several=True), "all images")
    assert result.pooled.main == "map" and result.interval is None
    assert result.pooled.targets.numpy().sum() == 13


def test_a_saved_result_is_read_back(tmp_path: Path) -> None:
    result = pool_folds(rows(), "all images")
    result.save(tmp_path / "pooled.npz")
    again = read_folds(tmp_path / "pooled.npz")
    assert again.scores == result.scores and again.row.images == result.row.images
    assert again.row.facts == result.row.facts and again.row.facts.split == "out-of-fold"
    row = rows()[0]
    save_scores(tmp_path / "one.npz", row.evaluation, row.images, {"models": ["m"]})
    with pytest.raises(UserError, match=r"one\.npz"):
        read_folds(tmp_path / "one.npz")
