"""Principal components: comparison with scikit-learn, rows of low rank, and rows that cannot be used."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from imclass.core.errors import UserError
from imclass.pipelines.codebooks import principal
from imclass.pipelines.codebooks.principal import PrincipalComponents
from tests.support.tolerance import assert_near


@pytest.fixture
def rows() -> np.ndarray:
    """Return correlated rows far from 0."""
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(500, 12)) * np.arange(1, 13) @ generator.normal(size=(12, 12))
    return (mixed + 1000).astype(np.float32)


@pytest.mark.parametrize("whiten", [False, True])
def test_components_are_those_of_scikit_learn(rows: np.ndarray, whiten: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principal, "CHUNK", 64)
    found = PrincipalComponents(dims=5, whiten=whiten).fit(rows)
    expected = PCA(5, whiten=whiten, svd_solver="full").fit(rows.astype(np.float64))
    assert_near(found.components_, expected.components_, 1e-5)
    assert_near(found.variances_, expected.explained_variance_, 1e-6)
    assert_near(found.mean_, expected.mean_, 1e-6)
    assert_near(found.project(rows), expected.transform(rows.astype(np.float64)), 1e-4)


def test_directions_without_variance_are_orthogonal_and_project_to_zero() -> None:
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(50, 2)) @ generator.normal(size=(2, 6))).astype(np.float32)
    found = PrincipalComponents(dims=4, whiten=True).fit(x)
    assert found.variances_[1] > 0
    assert not found.variances_[2:].any()
    assert_near(found.components_ @ found.components_.T, np.eye(4), 1e-5)
    assert np.abs(found.project(x)[:, 2:]).max() < 1e-5


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 8), "only 3 descriptors, fewer than the 4"), ((9, 3), "at most 3 principal components, not 4")],
)
def test_more_components_than_rows_or_numbers_are_an_error(shape: tuple[int, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(PrincipalComponents(dims=4).fit_steps(np.ones(shape, np.float32)))


def test_rows_of_another_width_are_an_error(rows: np.ndarray) -> None:
    with pytest.raises(UserError, match="fitted to rows of 12 numbers"):
        PrincipalComponents(dims=2).fit(rows).project(rows[:, :5])


def test_progress_ends_with_the_expected_number_of_steps(rows: np.ndarray) -> None:
    assert list(PrincipalComponents(dims=2).fit_steps(rows)) == [(1, 2), (2, 2)]
