"""Mixtures: comparison with scikit-learn from the same start, the floor of variances, and dead components."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from imclass.core.errors import UserError
from imclass.pipelines.codebooks import mixture
from imclass.pipelines.codebooks.mixture import DiagonalMixture, Standard
from tests.support.tolerance import assert_near


@pytest.fixture
def rows() -> np.ndarray:
    """Return rows around five places, far from 0 and of different scales."""
    generator = np.random.default_rng(0)
    places = generator.normal(size=(5, 6)) * 3
    scattered = places[generator.integers(5, size=1500)] + generator.normal(size=(1500, 6))
    return (scattered * [1, 10, 0.1, 1, 5, 2] + 300).astype(np.float32)


def by_sklearn(start: DiagonalMixture, rows: np.ndarray, iterations: int) -> GaussianMixture:
    """Return scikit-learn's mixture after iterations from the same start."""
    weights = start.weights_.astype(np.float64)
    return GaussianMixture(
        len(weights),
        covariance_type="diag",
        weights_init=weights / weights.sum(),
        means_init=start.means_.astype(np.float64),
        precisions_init=1 / start.variances_.astype(np.float64),
        max_iter=iterations,
        tol=0,
        reg_covar=0,
    ).fit(rows.astype(np.float64))


@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_iterations_are_those_of_scikit_learn(rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "CHUNK", 200)
    start = DiagonalMixture(components=6, iterations=0).fit(rows)
    found = DiagonalMixture(components=6, iterations=15, tolerance=0.0).fit(rows)
    expected = by_sklearn(start, rows, 15)
    likelihood = expected.score(rows.astype(np.float64))
    assert abs(found.log_likelihood(rows).mean(dtype=np.float64) - likelihood) < 1e-5 * abs(likelihood)
    assert abs(found.log_likelihoods_[-1] - expected.lower_bound_) < 1e-5 * abs(likelihood)
    assert_near(found.weights_, expected.weights_, 1e-3)
    assert_near((found.means_ - 300), expected.means_ - 300, 1e-3)
    assert_near(found.variances_, expected.covariances_, 1e-3)
    posteriors = expected.predict_proba(rows.astype(np.float64))
    assert np.abs(found.posteriors(rows) - posteriors).max() < 1e-2
    assert_near(found.posteriors(rows).sum(1), np.ones(len(rows)), 1e-5)


def test_the_likelihood_increases_until_the_tolerance(rows: np.ndarray) -> None:
    found = DiagonalMixture(components=6, iterations=100, tolerance=1e-2).fit(rows)
    gains = np.diff(found.log_likelihoods_)
    assert len(gains) < 50
    assert (gains[:-1] >= 1e-2).all()
    assert -1e-5 < gains[-1] < 1e-2


def test_no_variance_is_below_the_floor() -> None:
    generator = np.random.default_rng(0)
    x = np.repeat(generator.normal(size=(4, 3)), 50, 0).astype(np.float32)  # each place many times
    x[:, 2] = 7  # no variance at all
    found = DiagonalMixture(components=4, iterations=10, floor=0.01).fit(x)
    variances = x.astype(np.float64).var(0)
    floors = 0.01 * np.where(variances > 0, variances, variances[:2].mean())
    assert_near(found.variances_, np.tile(floors, (4, 1)), 1e-3)
    assert np.isfinite(found.posteriors(x)).all()


def test_a_dead_component_takes_half_of_the_heaviest() -> None:
    sums = torch.tensor([[3.0, 0.0, 6.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0, 0.0]]).double()
    found = Standard.estimate(sums, 1e-3)
    assert found.weights.tolist() == [0.5, 0.5]
    assert_near(found.variances, torch.tensor([[1.0, 1 / 3], [1.0, 1 / 3]]).double(), 1e-6)
    assert_near(found.means, torch.tensor([[1.0, 0.0], [2.0, 0.0]]).double(), 1e-6)


def test_the_fit_does_not_end_when_a_dead_component_is_replaced(
    rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate = Standard.estimate
    revived: list[int] = []

    def kill_the_first(sums: torch.Tensor, floor: float) -> Standard:
        if len(revived) == 3:
            sums[0] = 0
        found = estimate(sums, floor)
        revived.append(found.revived)
        return found

    monkeypatch.setattr(Standard, "estimate", kill_the_first)
    found = DiagonalMixture(components=6, iterations=100, tolerance=1e-3).fit(rows)
    assert revived[:5] == [0, 0, 0, 1, 0]
    assert found.log_likelihoods_[3] < found.log_likelihoods_[2]  # without a component that was in use
    assert 5 < len(found.log_likelihoods_) < 100
    assert found.log_likelihoods_[-1] > found.log_likelihoods_[3]


def test_equal_rows_have_finite_posteriors() -> None:
    x = np.ones((8, 2), np.float32)
    assert_near(DiagonalMixture(components=2, iterations=3).fit(x).posteriors(x).sum(1), np.ones(8), 1e-6)


def test_fewer_rows_than_components_are_an_error() -> None:
    with pytest.raises(UserError, match="only 3 descriptors, fewer than the 4 components of the mixture"):
        list(DiagonalMixture(components=4).fit_steps(np.ones((3, 2), np.float32)))


def test_rows_of_another_width_are_an_error(rows: np.ndarray) -> None:
    with pytest.raises(UserError, match="fitted to rows of 6 numbers"):
        DiagonalMixture(components=2, iterations=1).fit(rows).posteriors(rows[:, :3])
