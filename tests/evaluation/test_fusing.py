"""Fused scores are the ensemble's; fitted weights have the least loss."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from imclass.core.contracts import Evaluation
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.evaluation import ensemble as room
from imclass.evaluation.ensemble import Ensemble, Member, fit_weights, fuse
from imclass.evaluation.measures.single_label import cross_entropy, measured
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.score import evaluate
from tests.evaluation.test_score import CLASSES, SIZE, Linear, pictures
from tests.support.tolerance import assert_near


def random_scores(seed: int, n: int = 200, k: int = 4, good: float = 1.0) -> Evaluation:
    """Scores of `n` images, the same labels whatever the seed; the more `good`, the more often right."""
    labels = np.random.default_rng(0).integers(0, k, n)
    scores = np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)
    scores[np.arange(n), labels] += good
    return measured(tuple("abcdefgh"[:k]), labels, scores, np.arange(n) + 7, n)


def test_fused_scores_are_the_ensembles(monkeypatch: pytest.MonkeyPatch) -> None:
    data, order = pictures(30), (3, 0, 6, 1, 2, 5, 4)
    one, other = Linear(), Linear(classes=tuple(CLASSES[i] for i in order), preprocess=Preprocess(SIZE, scale=SIZE))
    ensemble = Ensemble((Member(one, Center(12), 1.0), Member(other, None, 3.0)), temperature=0.7)
    parts = [evaluate(one, data, Center(12)), evaluate(other, data)]
    expected = evaluate(ensemble, data)
    for rows in (4096, 7):  # images at a time
        monkeypatch.setattr(room, "ROWS", rows)
        found = fuse(parts, (1.0, 3.0), 0.7)
        assert_near(found.scores, expected.scores)
        assert (found.top1, found.top5) == (expected.top1, expected.top5)
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.classes == CLASSES and (found.ids == data.ids).all()


def test_scores_of_other_images_are_not_fused() -> None:
    one, other = random_scores(1), random_scores(2)
    with pytest.raises(UserError, match=r"scores 1 and 2 are of different images \(200 and 199, 199 in both\)"):
        fuse([one, measured(one.classes, one.labels[1:], one.scores[1:], one.ids[1:], 200)], (1.0, 1.0))
    with pytest.raises(UserError, match="do not give the same images the same classes"):
        fuse([one, replace(other, labels=other.labels[::-1].copy())], (1.0, 1.0))
    with pytest.raises(UserError, match="only member 2 has 'z'"):
        fuse([one, replace(other, classes=("a", "b", "c", "z"))], (1.0, 1.0))


def loss_of(parts: list[Evaluation], weights: np.ndarray) -> float:
    return cross_entropy(fuse(parts, tuple(weights.tolist())).scores, parts[0].labels)


def test_fitted_weights_have_the_least_loss() -> None:
    parts = [random_scores(1, good=2.0), random_scores(2, good=1.0), random_scores(3, good=0.2)]
    fitted = np.array(fit_weights(parts))
    assert fitted.sum() == pytest.approx(1.0) and (fitted >= 0).all() and fitted[0] == fitted.max()

    def loss(free: np.ndarray) -> float:  # of the simplex, by a softmax
        return loss_of(parts, np.exp(free) / np.exp(free).sum())

    oracle = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 2000})
    assert loss_of(parts, fitted) <= oracle.fun + 1e-6
    assert loss_of(parts, fitted) < loss_of(parts, np.ones(3) / 3) - 1e-3  # the twin: even weights are worse


def test_a_useless_member_gets_no_weight_and_twins_share() -> None:
    useful, noise = random_scores(1, n=2000, good=3.0), random_scores(2, n=2000, good=-3.0)
    assert fit_weights([useful, noise])[1] < 1e-3
    assert fit_weights([useful, useful]) == pytest.approx((0.5, 0.5))
    assert fit_weights([useful]) == (1.0,)


def test_certain_mistakes_do_not_break_the_fit() -> None:
    sure = random_scores(1, n=50)
    wrong = replace(sure, scores=np.where(np.arange(4) == (sure.labels[:, None] + 1) % 4, 0, -1e4).astype(np.float32))
    weights = fit_weights([wrong, wrong, sure])
    assert np.isfinite(weights).all() and weights[2] > 0.9
