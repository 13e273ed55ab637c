"""Fisher vectors equal a loop over their equations and scikit-image's, in every cell of every grid."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from skimage.feature import fisher_vector
from sklearn.mixture import GaussianMixture

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import Descriptors, join_descriptors
from imclass.pipelines.parts.fisher import Fisher
from tests.support.descriptors import NO_TARGETS, members_of, random_descriptors
from tests.support.tolerance import assert_near

GRIDS = ((1, 1), (2, 2), (3, 1))


def by_hand(words: int, width: int, power: float = 0.5, shift: float = 0.0, seed: int = 1) -> Fisher:
    """Return an encoder with a random mixture whose means are near `shift`."""
    random = np.random.default_rng(seed)
    part = Fisher(words, power)
    part.weights_ = random.dirichlet(np.full(words, 3.0)).astype(np.float32)
    part.means_ = (random.standard_normal((words, width)) + shift).astype(np.float32)
    part.variances_ = random.uniform(0.3, 2, (words, width)).astype(np.float32)
    return part


def loop(part: Fisher, values: np.ndarray) -> np.ndarray:
    """Compute the Fisher vector of a cell from equations 1 to 5, one descriptor and one component at a time."""
    w, m, v = (np.asarray(a, np.float64) for a in (part.weights_, part.means_, part.variances_))
    by_mean, by_variance = np.zeros_like(m), np.zeros_like(m)
    for x in values.astype(np.float64):
        densities = [
            w[k] * np.prod(np.exp(-((x - m[k]) ** 2) / (2 * v[k])) / np.sqrt(2 * np.pi * v[k])) for k in range(len(w))
        ]
        for k, density in enumerate(densities):
            g = density / sum(densities)
            by_mean[k] += g * (x - m[k]) / np.sqrt(v[k]) / (len(values) * np.sqrt(w[k]))
            by_variance[k] += g * ((x - m[k]) ** 2 / v[k] - 1) / (len(values) * np.sqrt(2 * w[k]))
    row = np.concatenate([by_mean.ravel(), by_variance.ravel()])
    row = np.sign(row) * np.abs(row) ** part.power
    return row / max(np.linalg.norm(row), 1e-300)


@pytest.mark.parametrize("power", (1.0, 0.5))
@pytest.mark.parametrize("shift", (0.0, 100.0))
def test_each_cell_equals_a_loop_over_the_equations(power: float, shift: float) -> None:
    part, x = by_hand(5, 4, power, shift), random_descriptors(60, 4, grids=GRIDS)
    x = x.with_values(x.values + np.float32(shift))
    row = part.transform(x)
    assert row.shape == (1, x.cells * 2 * 5 * 4) and row.dtype == np.float32
    expected = np.stack([loop(part, x.values[cell]) for cell in members_of(x)])
    # float32 has 5e-6 at 100; the square root of a value near 0 multiplies its error
    assert_near(row.reshape(x.cells, -1), expected, {0.0: 2e-5, 100.0: 2e-4}[shift] * (1 if power == 1 else 20))
    assert_near(np.linalg.norm(row.reshape(x.cells, -1), axis=1), np.ones(x.cells), 1e-6)


def test_a_cell_equals_scikit_images_vector() -> None:
    part, x = by_hand(6, 8), random_descriptors(3000, 8, 3)
    theirs = GaussianMixture(6, covariance_type="diag")
    theirs.weights_, theirs.means_, theirs.covariances_ = (
        np.asarray(a, np.float64) for a in (part.weights_, part.means_, part.variances_)
    )
    theirs.precisions_cholesky_ = 1 / np.sqrt(theirs.covariances_)
    plain = fisher_vector(x.values.astype(np.float64), theirs)
    # Theirs begins with the gradients by the weights, and those by the standard deviations have the opposite sign.
    expected = np.concatenate([plain[6 : 6 + 48], -plain[6 + 48 :]])
    assert_near(with_settings(part, power=1.0).transform(x)[0], expected / np.linalg.norm(expected))
    root = np.sign(expected) * np.sqrt(np.abs(expected))
    assert_near(part.transform(x)[0], root / np.linalg.norm(root), 4e-4)


def with_settings(part: Fisher, **settings: Any) -> Fisher:
    """Return the part with other settings and the same learned arrays."""
    other = replace(part, **settings)
    other.restore(part.arrays(), "")
    return other


def test_images_without_descriptors_and_with_few_are_encoded() -> None:
    part = by_hand(5, 4)
    several = [random_descriptors(n, 4, n, GRIDS) for n in (0, 1, 3, 0)]
    rows = part.transform(join_descriptors(several))
    assert not rows[[0, 3]].any() and np.isfinite(rows).all()
    lengths = np.linalg.norm(rows[1].reshape(8, -1), axis=1)
    assert sorted(np.round(lengths, 5).tolist()) == [0] * 5 + [1] * 3  # one cell of each grid
    for each, row in zip(several, rows, strict=True):
        assert np.array_equal(part.transform(each)[0], row)  # to the bit, and independent of the other images
    none = replace(several[0], sizes=np.zeros((0, 2), np.int64))
    assert part.transform(none).shape == (0, 8 * 40)


def test_a_pyramid_reacts_to_moved_content_and_its_whole_image_does_not() -> None:
    part, x = by_hand(5, 4), random_descriptors(200, 4, grids=((1, 1), (1, 2)))
    turned = x.positions.copy()
    turned[:, 0] = 60 - turned[:, 0]
    moved = replace(x, positions=turned)
    before, after = (part.transform(each).reshape(3, -1) for each in (x, moved))
    assert_near(after[0], before[0], 1e-3)
    assert_near(after[1:], before[[2, 1]], 1e-3)
    assert np.abs(after[1] - before[1]).max() > 0.01


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    part, x = by_hand(5, 4, power=1.0), random_descriptors(100, 4, grids=GRIDS)
    whole = part.transform(x)
    monkeypatch.setattr("imclass.pipelines.parts.fisher.BLOCK", 7)
    assert_near(part.transform(x), whole)


def test_a_mixture_is_fitted_to_descriptors() -> None:
    random = np.random.default_rng(0)
    x = random_descriptors(400, 3)
    x = x.with_values((0.1 * x.values + random.choice([-3, 3], (400, 1))).astype(np.float32))
    part = Fisher(2)
    progress = list(part.fit_steps(x, NO_TARGETS, 2, seed=3))
    assert progress and progress[-1][0] <= progress[-1][1]
    assert_near(np.sort(part.means_[:, 0]), [-3, 3], 0.02)
    assert_near(part.weights_, [0.5, 0.5], 0.2)
    again = Fisher(2)
    list(again.fit_steps(x, NO_TARGETS, 2, seed=3))
    assert all(np.array_equal(a, b) for a, b in zip(part.arrays().values(), again.arrays().values(), strict=True))
    assert np.isfinite(Fisher(2).fit(x, NO_TARGETS, 2).transform(x)).all()


def with_fault(x: Descriptors, value: float) -> Descriptors:
    values = x.values.copy()
    values[3, 1] = value
    return x.with_values(values)


def test_unusable_descriptors_and_an_unfitted_part_are_refused() -> None:
    part, x = by_hand(5, 4), random_descriptors(9, 4)
    for value in (np.nan, np.inf):
        with pytest.raises(UserError, match="1 of 9 descriptors contain NaN or infinity, the first of them in image 1"):
            part.transform(with_fault(x, value))
        with pytest.raises(UserError, match="the part fisher cannot use them; correct the part that computes them"):
            next(Fisher(2).fit_steps(with_fault(x, value), NO_TARGETS, 2))
    with pytest.raises(UserError, match="fisher was fitted to descriptors of 4 numbers, but these have 6"):
        part.transform(random_descriptors(9, 6))
    with pytest.raises(UserError, match="the part fisher has no weights_, because it has not been fitted"):
        Fisher().transform(x)
