"""Projections onto a plane, against a singular value decomposition, and their limits."""

import numpy as np
import pytest

from imclass.app.features import projection
from imclass.app.features.projection import check_points, project
from imclass.core.errors import UserError
from tests.support.tolerance import assert_near


def clusters(n: int = 60, width: int = 12) -> np.ndarray:
    """Return three separate clusters, one after the other."""
    random = np.random.default_rng(0)
    return (random.normal(size=(3, width)).repeat(n // 3, 0) * 9 + random.normal(size=(n, width))).astype(np.float32)


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    features = clusters()
    found = project(features, "pca")
    centred = features - features.mean(0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    assert_near(np.abs(found.points), np.abs(left[:, :2] * values[:2]), 1e-6)
    assert found.shares == pytest.approx((values**2 / (values**2).sum())[:2].tolist())
    assert (found.total, found.positions.tolist()) == (60, list(range(60)))


def test_tsne_keeps_clusters_together_and_repeats_its_result() -> None:
    one, two = (project(clusters(), "tsne").points for _ in range(2))
    np.testing.assert_array_equal(one, two)
    centres = one.reshape(3, 20, 2).mean(1)
    nearest = np.linalg.norm(one[:, None] - centres, axis=2).argmin(1)
    assert nearest.tolist() == np.arange(3).repeat(20).tolist()
    assert project(clusters(3), "tsne").points.shape == (3, 2)


def test_many_images_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MAX_POINTS", 7)
    found = project(clusters(), "pca")
    assert (found.total, found.positions.tolist()) == (60, [0, 10, 20, 30, 39, 49, 59])
    assert found.points.shape == (7, 2)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="all images have the same features"):
        project(np.ones((5, 4), np.float32), "pca")
    with pytest.raises(UserError, match=r"^a map needs at least 3 images, but there are 2"):
        project(clusters()[:2], "pca")
    for shape in ((), (1,), (6, 5, 5)):
        with pytest.raises(UserError, match=r"^a map needs a list of numbers per image"):
            check_points(9, shape)
    check_points(None, (2,))
    with pytest.raises(UserError, match="method is 'umap'; it must be pca or tsne"):
        project(clusters(), "umap")
