"""Linear support vector machines: comparison with scikit-learn, the scale, and data that cannot be fitted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.svm import LinearSVC

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.pipelines import penalised, quasi_newton
from imclass.pipelines.parts.linear_svm import SVM_GRID, LinearSvm, held_out_margins
from imclass.pipelines.penalised import FoldedData, PenalisedScorer, class_marks, solver_folds
from imclass.pipelines.principal_axes import scaled_features
from imclass.pipelines.quasi_newton import LogisticLoss
from tests.pipelines.parts.test_logistic import clouds, standard_scores
from tests.support.tolerance import assert_near


def by_sklearn(z: np.ndarray, marks: np.ndarray, strength: float, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and biases of scikit-learn's machines, one row per class, with hardly penalised biases."""
    model = LinearSVC(C=strength, tol=1e-10, dual=False, intercept_scaling=1e5, max_iter=100_000).fit(
        z, marks, **options
    )
    if len(model.classes_) == 2:  # only the machine of the second class
        return np.concatenate([-model.coef_, model.coef_]), np.concatenate([-model.intercept_, model.intercept_])
    return model.coef_, model.intercept_


def standard_weights(fitted: PenalisedScorer, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and biases for standardised features, before they were multiplied by the scale."""
    weights, biases = (array / fitted.scale_ for array in fitted.linear_model())
    spread = x.astype(np.float64).std(0)
    return weights * spread, biases + weights @ x.astype(np.float64).mean(0)


def objective(z: np.ndarray, signs: np.ndarray, strength: float, weights: np.ndarray, biases: np.ndarray) -> float:
    hinge = np.maximum(1 - signs * (z @ weights.T + biases), 0)
    return float((weights**2).sum() / 2 + strength * (hinge**2).sum())


@pytest.mark.parametrize("strength", [1e-5, 1e-3, 0.1])
@pytest.mark.parametrize(("images", "width", "classes"), [(60, 20, 3), (40, 100, 4), (80, 20, 2), (9, 64, 3)])
def test_weights_are_those_of_scikit_learn(images: int, width: int, classes: int, strength: float) -> None:
    x, labels = clouds(images, width, classes)
    z, signs = standard_scores(x), 2 * np.eye(classes)[labels] - 1
    fitted = LinearSvm((strength,), scaling="standardised").fit(x, OneOf(labels), classes)
    found, expected = standard_weights(fitted, x), by_sklearn(z, labels, strength)
    assert_near(found[0], expected[0], 1e-4)
    assert_near(z @ found[0].T + found[1], z @ expected[0].T + expected[1], 1e-4)
    assert objective(z, signs, strength, *found) <= objective(z, signs, strength, *expected) * (1 + 1e-8)


def test_the_weights_of_images_are_factors_of_their_losses() -> None:
    x, labels = clouds(60, 20, 3)
    factors = 1.0 + np.arange(60) % 4
    fitted = LinearSvm((1e-3,), scaling="standardised").fit(x, OneOf(labels), 3, factors)
    weights, biases = by_sklearn(standard_scores(x), labels, 1e-3, sample_weight=factors)
    assert_near(standard_weights(fitted, x)[0], weights, 1e-4)
    assert_near(standard_weights(fitted, x)[1], biases, 1e-4)


def test_several_labels_are_a_machine_a_class() -> None:
    x, labels = clouds(60, 20, 3)
    marks = np.stack([labels == 0, labels != 1, (labels == 2) | (np.arange(60) % 5 == 0)], 1).astype(np.int8)
    marks[:9, 1] = -1  # not judged
    fitted, z = LinearSvm((1e-3,), scaling="standardised").fit(x, AnyOf(marks), 3), standard_scores(x)
    assert fitted.link == "sigmoid"
    for k in range(3):
        judged = marks[:, k] >= 0
        weights, biases = by_sklearn(z[judged], marks[judged, k], 1e-3)
        assert_near(standard_weights(fitted, x)[0][k], weights[1], 1e-4)
        assert_near(standard_weights(fitted, x)[1][k], biases[1], 1e-4)


@pytest.fixture
def data() -> FoldedData:
    x, labels = clouds(30, 100, 2)
    features = scaled_features(x, (False,))
    *_, _ = features.prepare()
    loss = LogisticLoss(features.axes(False).rows, *class_marks(OneOf(labels), 2), "softmax")
    return FoldedData(loss, torch.ones(30).double(), torch.ones(1, 30).double())


def fit_all(data: FoldedData, strength: float, start: torch.Tensor | None, gap: float) -> torch.Tensor:
    return LinearSvm().fit_subsets(data, data.everything, strength, start, gap)


def test_a_machine_without_images_does_no_harm(data: FoldedData) -> None:
    """Judge no image for the second class, as may happen in the fit without one of the folds."""
    expected = fit_all(data, 0.01, None, 1e-12)
    data.loss.judged[1] = 0
    found = fit_all(data, 0.01, None, 1e-12)
    assert torch.equal(found[0, 0], expected[0, 0]) and not found[0, 1].any()


def test_a_start_without_losses_does_no_harm(data: FoldedData) -> None:
    """Begin from weights to which no image matters, so that the losses have no curvature."""
    start = 1e3 * fit_all(data, 0.1, None, 1e-6)
    margins = (2 * data.loss.wanted - 1) * held_out_margins(data, start)
    assert margins.min() > 1
    assert_near(fit_all(data, 0.01, start, 1e-12), fit_all(data, 0.01, None, 1e-12), 1e-4)


@pytest.mark.parametrize("fault", ["curvature", "memory"])
def test_the_minimum_needs_neither_the_curvature_nor_the_memory(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that both affect only the speed."""
    x, labels = clouds(60, 20, 3)
    expected = standard_weights(LinearSvm((1e-3,), scaling="standardised").fit(x, OneOf(labels), 3), x)[0]
    if fault == "memory":
        monkeypatch.setattr(quasi_newton, "MEMORY", 1)
    else:
        flat = staticmethod(
            lambda self, scores, shares: torch.full((len(shares), 1, self.rows.shape[1]), 100.0).double()
        )
        monkeypatch.setattr(quasi_newton.SquaredHingeLoss, "curvature", lambda *args: flat(*args))
    assert_near(
        standard_weights(LinearSvm((1e-3,), scaling="standardised").fit(x, OneOf(labels), 3), x)[0], expected, 1e-4
    )


def cross_entropy(scores: np.ndarray, wanted: np.ndarray, link: str) -> float:
    """Return the mean cross-entropy between scores and the fractions of labels in `wanted`."""
    if link == "softmax":
        return float((np.logaddexp.reduce(scores, 1) - (wanted * scores).sum(1)).mean())
    return float((np.logaddexp(0, scores) - wanted * scores).sum(1).mean())


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_strength_and_scale_have_the_lowest_cross_entropy_on_held_out_folds(link: str) -> None:
    x, labels = clouds(90, 40, 3)
    wanted, z = np.eye(3)[labels], standard_scores(x)
    targets = OneOf(labels) if link == "softmax" else AnyOf(wanted.astype(np.int8))
    grid = (1e-6, 3e-6, 1e-3, 1e-2, 0.1)
    fitted, folds = LinearSvm(grid, scaling="standardised").fit(x, targets, 3), solver_folds(targets, 3, 5)
    smooth = (90 * wanted + 1) / (90 + (3 if link == "softmax" else 2))
    losses, scales = [], []
    for strength in grid:
        margins = np.empty((90, 3))
        for fold in range(5):
            weights, biases = by_sklearn(z[folds != fold], labels[folds != fold], strength)
            margins[folds == fold] = z[folds == fold] @ weights.T + biases
        best = minimize_scalar(lambda t, m=margins: cross_entropy(np.exp(t) * m, smooth, link), bounds=(-5, 10))
        scales.append(np.exp(best.x))
        losses.append(cross_entropy(scales[-1] * margins, wanted, link))
    assert_near(fitted.losses_, np.array(losses), 1e-2)
    chosen = int(np.argmin(losses))
    assert fitted.strength_ == grid[chosen]
    assert fitted.scale_ == pytest.approx(scales[chosen], rel=1e-2)
    assert fitted.facts() == {
        "strength": grid[chosen],
        "scaling": "standardised",
        "folds": 5,
        "scale": fitted.scale_,
        "losses": dict(zip(map(str, grid), fitted.losses_.tolist(), strict=True)),
    }


def test_classes_that_are_easy_to_separate_have_a_finite_scale() -> None:
    """Check that the probabilities are as certain as the number of images allows, and no more."""
    labels = np.repeat(np.arange(3), 30)
    x = 10 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(90, 3)) / 10
    chances = torch.from_numpy(LinearSvm().fit(x, OneOf(labels), 3).scores(x)).softmax(1).numpy()
    assert_near(chances[np.arange(90), labels], np.full(90, 91 / 93), 0.03)


def test_the_search_ends_when_the_loss_has_become_much_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that it would otherwise try all strengths, and that the choice is the same."""
    x, labels = clouds(90, 40, 3)
    ended = LinearSvm(scaling="standardised").fit(x, OneOf(labels), 3)
    monkeypatch.setattr(penalised, "MUCH_WORSE", np.inf)
    whole = LinearSvm(scaling="standardised").fit(x, OneOf(labels), 3)
    assert len(ended.losses_) < len(whole.losses_) == len(SVM_GRID)
    assert np.array_equal(ended.scores(x), whole.scores(x))


@pytest.mark.parametrize(("settings", "folds"), [({}, 3), ({"folds": 2}, 2), ({"grid": (0.5,)}, 3)])
def test_three_images_a_class_are_enough(settings: dict[str, Any], folds: int) -> None:
    x, labels = clouds(9, 64, 3)
    fitted = LinearSvm(**settings).fit(x, OneOf(labels), 3)
    assert fitted.facts()["folds"] == folds and len(fitted.losses_) >= 1
    assert (fitted.scores(x).argmax(1) == labels).all()


def test_a_class_with_one_image_is_refused() -> None:
    x, _ = clouds(9, 10, 2)
    with pytest.raises(UserError, match=r"needs at least 2 training images.*class number 1, there are 8 with it and 1"):
        LinearSvm().fit(x, OneOf(np.eye(9, dtype=np.int64)[4]), 2)


def test_features_that_are_not_finite_are_refused() -> None:
    x, labels = clouds(9, 10, 3)
    x[4, 3] = np.nan
    with pytest.raises(UserError, match="not finite"):
        LinearSvm().fit(x, OneOf(labels), 3)


@pytest.mark.parametrize("settings", [{"grid": ()}, {"grid": (1.0, 0.1)}, {"grid": (-1.0, 1.0)}, {"folds": 1}])
def test_unsuitable_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        check_bounds(replace(LinearSvm(), **settings))


def test_a_fitted_part_is_restored_from_its_arrays() -> None:
    x, labels = clouds(30, 10, 3)
    marks = np.stack([labels == k for k in range(3)], 1).astype(np.int8)
    fitted, other = LinearSvm().fit(x, AnyOf(marks), 3), LinearSvm()
    other.restore(fitted.arrays(), "here")
    assert np.array_equal(other.scores(x), fitted.scores(x)) and other.link == "sigmoid"
    assert other.facts() == fitted.facts()
