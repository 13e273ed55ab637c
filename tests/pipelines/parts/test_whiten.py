"""Whitened descriptors have the identity as covariance, and are as near to the original ones as any of these."""

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import Descriptors, join_descriptors
from imclass.pipelines.parts.whiten import Whiten
from tests.support.descriptors import NO_TARGETS, random_descriptors
from tests.support.tolerance import assert_near


def correlated_descriptors(count: int = 500, seed: int = 0) -> Descriptors:
    x = random_descriptors(count, 5, seed)
    mixed = x.values @ np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)
    return x.with_values((mixed + 100).astype(np.float32))


def test_without_a_floor_the_covariance_is_the_identity() -> None:
    x = correlated_descriptors()
    part = Whiten(floor=0.0)
    assert list(part.fit_steps(x, NO_TARGETS, 2))
    found = part.transform(x).values
    assert found.dtype == np.float32
    assert_near(np.cov(found.T.astype(np.float64)), np.eye(5), 1e-3)
    assert np.abs(found.mean(0)).max() < 1e-3
    # ZCA: of all such matrices, only this one is symmetric with positive eigenvalues.
    assert_near(part.matrix_, part.matrix_.T)
    assert np.linalg.eigvalsh(part.matrix_).min() > 0


def test_the_floor_is_added_to_each_variance() -> None:
    x = correlated_descriptors()
    variances, axes = np.linalg.eigh(np.cov(x.values.T.astype(np.float64)))
    expected = (x.values - x.values.mean(0, dtype=np.float64)) @ (axes / np.sqrt(variances + 0.3)) @ axes.T
    assert_near(Whiten(floor=0.3).fit(x, NO_TARGETS, 2).transform(x).values, expected, 1e-3)


def test_axes_without_variance_become_zero() -> None:
    x = correlated_descriptors()
    x = x.with_values(np.concatenate([x.values, x.values[:, :1]], 1))
    found = Whiten(floor=0.0).fit(x, NO_TARGETS, 2).transform(x).values
    assert np.isfinite(found).all()
    assert_near(np.sort(np.linalg.eigvalsh(np.cov(found.T.astype(np.float64)))), [0, 1, 1, 1, 1, 1], 1e-2)


def test_each_image_is_whitened_by_itself_and_a_restored_part_has_the_same_bits() -> None:
    part, several = (
        Whiten().fit(correlated_descriptors(), NO_TARGETS, 2),
        [correlated_descriptors(n, n) for n in (0, 7, 300)],
    )
    other = Whiten()
    other.restore(part.arrays(), "here")
    joined = other.transform(join_descriptors(several))
    for each, one in zip(several, joined.of_each_image(), strict=True):
        assert np.array_equal(part.transform(each).values, one.values)


def test_other_descriptors_are_refused() -> None:
    part, x = Whiten().fit(correlated_descriptors(), NO_TARGETS, 2), correlated_descriptors(9)
    with pytest.raises(UserError, match="whiten was fitted to descriptors of 5 numbers, but these have 4"):
        part.transform(random_descriptors(5, 4))
    with pytest.raises(UserError, match="only 3 descriptors, fewer than the 5"):
        Whiten().fit(correlated_descriptors(3), NO_TARGETS, 2)
    x.values[0, 0] = np.nan
    for use in (part.transform, lambda x: Whiten().fit(x, NO_TARGETS, 2)):
        with pytest.raises(UserError, match="1 of 9 descriptors contain NaN or infinity"):
            use(x)
