"""Logistic regression: comparison with scikit-learn, the choice of the strength, and data that cannot be fitted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.pipelines import quasi_newton
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.parts.logistic import GRID, Logistic
from imclass.pipelines.penalised import solver_folds
from imclass.pipelines.pipeline import Pipeline
from imclass.pipelines.solvers.logistic import Scaling
from tests.support.tolerance import assert_near


def clouds(images: int, width: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features that are not negative, one of them constant, and labels of classes that overlap."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    hidden = generator.normal(size=(images, 8)) + generator.normal(size=(classes, 8))[labels]
    x = np.maximum(hidden @ generator.normal(size=(8, width)) + generator.normal(size=(images, width)), 0)
    x[:, 0] = 3.25
    return x.astype(np.float32), labels


def standard_scores(x: np.ndarray) -> np.ndarray:
    spread = x.astype(np.float64).std(0)
    return (x - x.astype(np.float64).mean(0)) / np.where(spread == 0, 1, spread)


def common_scores(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    found: np.ndarray = (x - x.mean(0)) / np.sqrt(x.var(0).mean())
    return found


def by_sklearn(x: np.ndarray, marks: np.ndarray, strength: float) -> np.ndarray:
    """Return the probabilities of scikit-learn's regression."""
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=100_000).fit(standard_scores(x), marks)
    found: np.ndarray = model.predict_proba(standard_scores(x))
    return found


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0, 10.0])
@pytest.mark.parametrize(("images", "width", "classes"), [(60, 20, 3), (40, 100, 4), (80, 20, 2), (9, 64, 3)])
def test_probabilities_are_those_of_scikit_learn(images: int, width: int, classes: int, strength: float) -> None:
    """Double C for two classes: scikit-learn uses one weight vector, whose square is twice the sum of our squares."""
    x, labels = clouds(images, width, classes)
    found = torch.from_numpy(Logistic(grid=(strength,)).fit(x, OneOf(labels), classes).scores(x)).softmax(1).numpy()
    assert np.abs(found - by_sklearn(x, labels, strength * (1 + (classes == 2)))).max() < 1e-5


@pytest.mark.parametrize("width", [20, 100])
def test_several_labels_are_a_binary_regression_a_class(width: int) -> None:
    x, labels = clouds(60, width, 3)
    marks = np.stack([labels == 0, labels != 1, (labels == 2) | (np.arange(60) % 5 == 0)], 1).astype(np.int8)
    marks[:9, 1] = -1  # not judged
    fitted = Logistic(grid=(0.1,)).fit(x, AnyOf(marks), 3)
    found = torch.from_numpy(fitted.scores(x)).sigmoid().numpy()
    assert fitted.link == "sigmoid"
    for k in (0, 2):
        assert np.abs(found[:, k] - by_sklearn(x, marks[:, k], 0.1)[:, 1]).max() < 1e-5
    model = LogisticRegression(C=0.1, tol=1e-10, max_iter=100_000).fit(standard_scores(x)[9:], marks[9:, 1])
    assert np.abs(found[:, 1] - model.predict_proba(standard_scores(x))[:, 1]).max() < 1e-5


@pytest.mark.parametrize("fault", ["curvature", "memory"])
def test_the_minimum_needs_neither_the_curvature_nor_the_memory(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that both affect only the speed."""
    x, labels = clouds(60, 20, 3)
    expected = Logistic(grid=(0.01,)).fit(x, OneOf(labels), 3).scores(x)
    if fault == "memory":
        monkeypatch.setattr(quasi_newton, "MEMORY", 1)
    else:
        flat = staticmethod(
            lambda self, scores, shares: torch.full((len(shares), 1, self.rows.shape[1]), 100.0).double()
        )
        monkeypatch.setattr(quasi_newton.LogisticLoss, "curvature", lambda *args: flat(*args))
    assert_near(Logistic(grid=(0.01,)).fit(x, OneOf(labels), 3).scores(x), expected, 1e-4)


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Return the weight of each image, as for scikit-learn's `class_weight="balanced"`."""
    counts = np.bincount(labels)
    weights: np.ndarray = (len(labels) / (len(counts) * counts))[labels]
    return weights


@pytest.mark.parametrize("strength", [1e-3, 0.1])
def test_weighted_probabilities_are_those_of_scikit_learn(strength: float) -> None:
    x, labels = clouds(90, 20, 3)
    kept = np.flatnonzero((labels != 2) | (np.arange(90) < 12))  # 4 images of the third class
    x, labels = x[kept], labels[kept]
    fitted = Logistic(grid=(strength,)).fit(x, OneOf(labels), 3, balanced_weights(labels))
    found = torch.from_numpy(fitted.scores(x)).softmax(1).numpy()
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=100_000, class_weight="balanced")
    model.fit(standard_scores(x), labels)
    assert np.abs(found - model.predict_proba(standard_scores(x))).max() < 1e-5
    assert np.abs(found - by_sklearn(x, labels, strength)).max() > 0.01


def test_cross_validation_weights_the_losses() -> None:
    x, labels = clouds(90, 40, 3)
    kept = np.flatnonzero((labels != 2) | (np.arange(90) < 18))
    x, labels = x[kept], labels[kept]
    weights, grid = balanced_weights(labels), (1e-4, 1e-3, 1e-2)
    fitted = Logistic(grid, scaling="standardised").fit(x, OneOf(labels), 3, weights)
    folds, z, losses = solver_folds(OneOf(labels), 3, 5), standard_scores(x), []
    for strength in grid:
        total = 0.0
        for fold in range(5):
            learned, held = folds != fold, folds == fold
            model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
            model.fit(z[learned], labels[learned], sample_weight=weights[learned])
            chances = model.predict_proba(z[held])[np.arange(held.sum()), labels[held]]
            total -= (weights[held] * np.log(chances)).sum()
        losses.append(total / weights.sum())
    assert_near(fitted.losses_, np.array(losses), 1e-2)


@pytest.mark.parametrize("scaling", ["standardised", "common"])
def test_the_strength_has_the_lowest_loss_on_held_out_folds(scaling: Scaling) -> None:
    x, labels = clouds(90, 40, 3)
    fitted = Logistic(scaling=scaling).fit(x, OneOf(labels), 3)
    z = standard_scores(x) if scaling == "standardised" else common_scores(x)
    folds, losses = solver_folds(OneOf(labels), 3, 5), []
    for strength in GRID[: len(fitted.losses_)]:
        total = 0.0
        for fold in range(5):
            model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(
                z[folds != fold], labels[folds != fold]
            )
            chances = model.predict_proba(z[folds == fold])
            total -= np.log(chances[np.arange(len(chances)), labels[folds == fold]]).sum()
        losses.append(total / 90)
    assert_near(fitted.losses_, np.array(losses), 1e-2)
    assert fitted.strength_ == GRID[int(np.argmin(losses))] and fitted.folds_ == 5
    assert fitted.facts()["losses"]["0.01"] == pytest.approx(losses[GRID.index(0.01)], rel=1e-2)
    alone = Logistic(grid=(fitted.strength_.item(),), scaling=scaling).fit(x, OneOf(labels), 3)
    assert_near(fitted.scores(x), alone.scores(x), 1e-4)


@pytest.mark.parametrize("part", [Logistic, LinearSvm])
@pytest.mark.parametrize("best", ["standardised", "common"])
def test_the_scaling_has_the_lowest_loss_on_held_out_folds(best: Scaling, part: type[Logistic | LinearSvm]) -> None:
    """Make the informative features vary more than the others, or less."""
    x, labels = clouds(90, 40, 3)
    z = standard_scores(x)
    noise = np.random.default_rng(1).normal(size=(90, 200))
    x = np.concatenate([z, (0.01 if best == "common" else 3) * noise], 1).astype(np.float32)
    alone = {s: part(scaling=s).fit(x, OneOf(labels), 3) for s in ("standardised", "common")}
    assert min(alone, key=lambda s: alone[s].losses_.min()) == best
    fitted = part().fit(x, OneOf(labels), 3)
    assert fitted.facts()["scaling"] == best and np.array_equal(fitted.losses_, alone[best].losses_)
    assert np.array_equal(fitted.scores(x), alone[best].scores(x))


@pytest.mark.parametrize("part", [Logistic, LinearSvm])
@pytest.mark.parametrize(
    ("losses", "tried", "chosen"),
    [
        ((1.0, 1.03, 1.04, 0.5, 0.6), 5, 3),  # a small increase does not end the search
        ((1.0, 1.2, 1.04, 1.2, 0.5), 5, 4),  # nor does a single large one
        ((1.0, 1.2, 1.2, 0.5, 0.6), 3, 0),
    ],
)
def test_two_much_larger_losses_in_a_row_end_the_search(
    part: type[Logistic | LinearSvm],
    losses: tuple[float, ...],
    tried: int,
    chosen: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, labels = clouds(30, 10, 3)
    results = iter(losses)
    monkeypatch.setattr(part, "judge", lambda self, data, found: (1.0, next(results)))
    grid = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    fitted = part(grid, scaling="standardised").fit(x, OneOf(labels), 3)
    assert (len(fitted.losses_), fitted.strength_) == (tried, grid[chosen])


def test_a_fit_is_repeatable_to_the_bit() -> None:
    x, labels = clouds(40, 60, 4)
    one, other = (Logistic().fit(x, OneOf(labels), 4).linear_model() for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("images", [6, 7, 20, 31])
def test_each_class_is_divided_equally_among_the_folds(images: int) -> None:
    labels = np.arange(images) % 3 % 2
    folds = solver_folds(OneOf(labels), 2, 5)
    assert folds.max() + 1 == min(5, np.bincount(labels).min())
    shares = np.array([np.bincount(folds[labels == k], minlength=folds.max() + 1) for k in (0, 1)])
    assert (shares.max(1) - shares.min(1)).max() <= 1
    marks = np.stack([labels, np.arange(images) % 2], 1).astype(np.int8)
    assert set(solver_folds(AnyOf(marks), 2, 5)) == set(range(min(5, *marks.sum(0).tolist())))


@pytest.mark.parametrize(("settings", "folds"), [({}, 3), ({"folds": 1}, 0), ({"grid": (0.5,)}, 0)])
def test_three_images_a_class_are_enough(settings: dict[str, Any], folds: int) -> None:
    x, labels = clouds(9, 64, 3)
    fitted = Logistic(**settings).fit(x, OneOf(labels), 3)
    assert fitted.facts()["folds"] == folds
    assert (fitted.scores(x).argmax(1) == labels).all()
    if not folds:
        strength = settings.get("grid", (0.01,))[0]
        assert fitted.facts() == {"strength": strength, "scaling": "standardised", "folds": 0, "losses": {}}


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_a_class_with_one_image_is_refused(link: str) -> None:
    x, labels = clouds(9, 10, 2)
    labels[:] = 0
    labels[4] = 1
    targets = OneOf(labels) if link == "softmax" else AnyOf(np.eye(2, dtype=np.int8)[labels])
    with pytest.raises(UserError, match=r"needs at least 2 training images.*class number \d, there are \d with it"):
        Logistic().fit(x, targets, 2)


def test_features_that_are_not_finite_are_refused() -> None:
    x, labels = clouds(9, 10, 3)
    x[4, 3] = np.inf
    with pytest.raises(UserError, match="not finite"):
        Logistic().fit(x, OneOf(labels), 3)


@pytest.mark.parametrize("grid", [(), (1.0, 0.1), (0.1, 0.1), (-1.0, 1.0)])
def test_a_grid_must_be_in_ascending_order(grid: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="grid"):
        check_bounds(replace(Logistic(), grid=grid))


def test_a_fitted_part_is_restored_from_its_arrays() -> None:
    x, labels = clouds(30, 10, 3)
    marks = np.stack([labels == k for k in range(3)], 1).astype(np.int8)
    fitted, other = Logistic().fit(x, AnyOf(marks), 3), Logistic()
    with pytest.raises(UserError, match="has not been fitted"):
        other.scores(x)
    other.restore(fitted.arrays(), "here")
    assert np.array_equal(other.scores(x), fitted.scores(x)) and other.link == "sigmoid"
    assert Pipeline((fitted,), ("a", "b", "c")).link == "sigmoid"
