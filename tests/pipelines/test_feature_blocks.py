"""Features in blocks: products equal numpy's, and the fitted classifiers equal those of principal axes."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.pipelines import feature_blocks
from imclass.pipelines import rows as matrices
from imclass.pipelines.feature_blocks import BlockFeatures, needs_blocks
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.penalised import solver_folds
from imclass.pipelines.rows import ArrayRows
from tests.pipelines.parts.test_linear_svm import by_sklearn, cross_entropy, standard_weights
from tests.pipelines.parts.test_logistic import clouds, common_scores, standard_scores
from tests.pipelines.test_principal_axes import FileOfRows
from tests.support.tolerance import assert_near


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use blocks of 10 rows of 20 features for any matrix, keep 7 of them in memory, and solve exactly."""
    monkeypatch.setattr(feature_blocks, "MOST_EXACT", 0)
    monkeypatch.setattr(feature_blocks.FeatureBlocks, "smallest_gap", 1e-10)
    monkeypatch.setattr(feature_blocks, "KEPT_NUMBERS", 1450)
    monkeypatch.setattr(matrices, "BLOCK_NUMBERS", 200)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("common", [False, True])
def test_products_equal_those_of_scaled_features(common: bool) -> None:
    x, _ = clouds(95, 20, 3)
    x[:, 4] = 7  # does not vary
    file = FileOfRows(x + 100)
    features = BlockFeatures(file)
    assert list(features.prepare()) == list(range(1, features.steps + 1)) and features.steps == 20
    assert file.most == 200 and len(features.centred.kept) == 7
    axes = features.axes(common)
    z = common_scores(x) if common else np.insert(standard_scores(np.delete(x, 4, 1)), 4, 0, 1)
    z = np.concatenate([z, np.ones((95, 1))], 1)
    random = np.random.default_rng(1)
    weights, errors = (torch.from_numpy(random.standard_normal((4, n))) for n in (21, 95))
    assert_near(axes.rows.scores(weights), weights @ torch.from_numpy(z).T, 1e-4)
    assert_near(axes.rows.slope(errors), errors @ torch.from_numpy(z), 1e-4)
    plain, biases = axes.undo(weights)
    assert_near((x + 100) @ plain.numpy().T + biases.numpy(), z @ weights.numpy().T, 1e-4)
    ridge = torch.full((21,), 5.0).double()
    ridge[-1] = 0
    curvature = 0.5 * axes.rows.squares(torch.ones(1, 95).double())[:, None]
    exact = np.linalg.solve(0.5 * z.T @ z + np.diag(ridge.numpy()), weights.numpy().T).T
    assert_near(axes.rows.inverse(curvature, ridge).times(weights[:, None])[:, 0], exact, 1e-4)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("most", [20**2, 20**2 - 1])
def test_machines_are_those_of_scikit_learn(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit once with the products of all pairs of 20 features, and once where they are one too many."""
    monkeypatch.setattr(feature_blocks, "MOST_PRODUCTS", most)
    x, labels = clouds(95, 20, 3)
    kept = BlockFeatures(FileOfRows(x)).centred.products
    assert (kept is None) == (most < 20**2)
    fitted = LinearSvm((1e-2,), scaling="standardised").fit(FileOfRows(x), OneOf(labels), 3)
    expected = by_sklearn(standard_scores(x), labels, 1e-2)
    for found, wanted in zip(standard_weights(fitted, x), expected, strict=True):
        assert_near(found, wanted, 1e-3)


@pytest.mark.usefixtures("blocks")
def test_a_fifth_of_the_images_calibrates_machines() -> None:
    x, labels = clouds(95, 20, 3)
    fitted = LinearSvm((1e-3, 1e-2), scaling="standardised").fit(x, OneOf(labels), 3)
    assert fitted.facts()["folds"] == 1
    held, z = solver_folds(OneOf(labels), 3, 5) == 0, standard_scores(x)
    wanted, count = np.eye(3)[labels[held]], held.sum()
    losses = []
    for strength in (1e-3, 1e-2):
        weights, biases = by_sklearn(z[~held], labels[~held], strength)
        margins, smooth = z[held] @ weights.T + biases, (count * wanted + 1) / (count + 3)
        best = minimize_scalar(lambda t, m=margins, s=smooth: cross_entropy(np.exp(t) * m, s, "softmax"), (-1, 1))
        losses.append(cross_entropy(np.exp(best.x) * margins, wanted, "softmax"))
    assert_near(fitted.losses_, losses, 1e-2)


@pytest.mark.usefixtures("blocks")
def test_a_fifth_of_the_images_chooses_a_logistic_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = clouds(95, 20, 3)
    grid = (1e-3, 1e-2, 0.1)
    fitted = Logistic(grid, scaling="standardised").fit(x, OneOf(labels), 3)
    assert fitted.facts()["folds"] == 1 and len(fitted.losses_) == 3
    monkeypatch.setattr(feature_blocks, "MOST_EXACT", 1 << 27)
    held, z = solver_folds(OneOf(labels), 3, 5) == 0, standard_scores(x)
    losses = []
    for strength in grid:
        rest = Logistic((strength,), scaling="standardised").fit(z[~held], OneOf(labels[~held]), 3)
        losses.append(cross_entropy(rest.scores(z[held]), np.eye(3)[labels[held]], "softmax"))
    assert_near(fitted.losses_, losses, 5e-2)  # here the remaining images decide how features are scaled


def test_blocks_are_for_matrices_whose_coordinates_are_large() -> None:
    for images, width, expected in ((50_000, 6_400, True), (50_000, 2_048, False), (2_934, 163_840, False)):
        rows = ArrayRows(np.broadcast_to(np.zeros(1, np.float32), (images, width)))
        assert needs_blocks(rows) == expected


@pytest.mark.usefixtures("blocks")
def test_features_that_are_not_finite_are_refused_and_arrays_are_not_changed() -> None:
    x, labels = clouds(95, 20, 3)
    before = x.copy()
    LinearSvm((1e-2,)).fit(x, OneOf(labels), 3)
    assert np.array_equal(x, before)
    x[90, 3] = np.nan
    with pytest.raises(UserError, match="not finite"):
        LinearSvm((1e-2,)).fit(x, OneOf(labels), 3)


def test_a_matrix_that_rounding_makes_indefinite_is_made_definite() -> None:
    column = torch.ones(50, 1).cumsum(0)
    features = BlockFeatures(ArrayRows(np.repeat(column.numpy(), 9, 1)))
    list(features.prepare())
    rows = features.axes(False).rows
    ridge = torch.zeros(10).double()
    solved = rows.inverse(rows.squares(torch.ones(1, 50).double())[:, None], ridge).times(torch.ones(1, 1, 10).double())
    assert torch.isfinite(solved).all()
