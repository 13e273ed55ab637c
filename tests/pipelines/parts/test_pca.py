"""The projection of descriptors equals scikit-learn's."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.parts.pca import Pca
from tests.support.descriptors import NO_TARGETS, random_descriptors
from tests.support.tolerance import assert_near


@pytest.mark.parametrize("whiten", (False, True))
def test_projected_descriptors_equal_those_of_scikit_learn(whiten: bool) -> None:
    x = random_descriptors(200, 6)
    x = x.with_values(x.values * np.array([5, 4, 3, 2, 1, 0.5], np.float32) + 100)
    part = Pca(3, whiten)
    assert list(part.fit_steps(x, NO_TARGETS, 2))
    theirs = PCA(3, whiten=whiten).fit(x.values.astype(np.float64))
    found, expected = part.transform(x).values, theirs.transform(x.values.astype(np.float64))
    signs = np.sign((found * expected).sum(0))
    assert_near(found * signs, expected, 2e-3 if whiten else 1e-4)  # whitening: n or n - 1
    assert found.dtype == np.float32 and part.fit(x, NO_TARGETS, 2).transform(x).values.shape == (200, 3)


def by_hand(whiten: bool = False) -> Pca:
    part = Pca(2, whiten)
    part.mean_ = np.array([1, 2, 3], np.float32)
    part.components_ = np.array([[1, 0, 0], [0, 0, 1]], np.float32)
    part.variances_ = np.array([4, 0], np.float32)
    return part


def test_each_image_is_projected_by_itself() -> None:
    several = [random_descriptors(n, 3, n) for n in (0, 5, 300)]
    joined = by_hand().transform(join_descriptors(several))
    for each, one in zip(several, joined.of_each_image(), strict=True):
        assert np.array_equal(by_hand().transform(each).values, one.values)
    assert_near(joined.values, np.concatenate([each.values[:, [0, 2]] - [1, 3] for each in several]))
    white = by_hand(True).transform(several[1]).values
    assert_near(white, (several[1].values[:, [0, 2]] - [1, 3]) / [2, 1])  # a direction without variance is not scaled


def test_other_descriptors_are_refused() -> None:
    with pytest.raises(UserError, match="pca was fitted to descriptors of 3 numbers, but these have 4"):
        by_hand().transform(random_descriptors(5, 4))
    x = random_descriptors(5, 3)
    x.values[0, 0] = np.inf
    for use in (by_hand().transform, lambda x: Pca(2).fit(x, NO_TARGETS, 2)):
        with pytest.raises(UserError, match="1 of 5 descriptors contain NaN or infinity"):
            use(x)
