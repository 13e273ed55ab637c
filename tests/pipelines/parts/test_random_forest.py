"""Random forests: comparison with scikit-learn, several labels, and data that cannot be used."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.pipelines.parts import random_forest
from imclass.pipelines.parts.random_forest import RandomForest
from tests.pipelines.parts.test_logistic import clouds
from tests.support.tolerance import assert_near

SMOOTHED = 1e-6  # shares are float32


def by_sklearn(x: np.ndarray, marks: np.ndarray, trees: int, **options: object) -> RandomForestClassifier:
    return RandomForestClassifier(trees, random_state=0, oob_score=True, n_jobs=1, **options).fit(x, marks)


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB")
@pytest.mark.parametrize("settings", [{}, {"leaf": 4, "tried": 3}, {"depth": 2}])
def test_predictions_are_those_of_scikit_learn(settings: dict[str, int]) -> None:
    """Grow the trees in batches, which must not change them."""
    x, labels = clouds(60, 20, 3)
    new, _ = clouds(100, 20, 3, seed=1)
    fitted = RandomForest(trees=25, **settings).fit(x, OneOf(labels), 3)
    names = {"leaf": "min_samples_leaf", "tried": "max_features", "depth": "max_depth"}
    peer = by_sklearn(x, labels, 25, **{names[name]: value for name, value in settings.items()})
    for rows in (x, new):
        means = (26 * np.exp(fitted.scores(rows)) - 1 / 3) / 25
        assert np.abs(means - peer.predict_proba(rows)).max() < SMOOTHED
    assert fitted.facts()["out_of_bag_accuracy"] == pytest.approx(peer.oob_score_, abs=1e-9)
    assert np.allclose(np.exp(fitted.scores(new)).sum(1), 1)


def test_several_labels_are_those_of_scikit_learn() -> None:
    x, labels = clouds(60, 20, 3)
    marks = np.stack([labels == 0, labels != 1, (labels == 2) | (np.arange(60) % 5 == 0)], 1).astype(np.int8)
    fitted, peer = RandomForest(trees=20).fit(x, AnyOf(marks), 3), by_sklearn(x, marks, 20)
    assert fitted.link == "sigmoid"
    odds = np.exp(fitted.scores(x))
    means = (21 * odds / (1 + odds) - 0.5) / 20
    assert np.abs(means - np.stack([p[:, 1] for p in peer.predict_proba(x)], 1)).max() < SMOOTHED


def test_images_that_are_not_annotated_for_a_class_are_left_out_of_its_fraction() -> None:
    x, labels = clouds(60, 20, 3)
    marks = np.stack([labels == 0, labels != 1], 1).astype(np.int8)
    marks[:20, 1] = -1
    fitted, peer = RandomForest(trees=20, leaf=5).fit(x, AnyOf(marks), 2), by_sklearn_marks(x, marks)
    unknown, without, having = (20 * peer[1][:, i] for i in range(3))
    assert unknown.max() > 1
    assert_near(fitted.scores(x)[:, 1], np.log(having + 0.5) - np.log(without + 0.5), 1e-5)
    assert 0.5 < fitted.facts()["out_of_bag_accuracy"] <= 1


def by_sklearn_marks(x: np.ndarray, marks: np.ndarray) -> list[np.ndarray]:
    peer = RandomForestClassifier(20, random_state=0, min_samples_leaf=5).fit(x, marks)
    found: list[np.ndarray] = peer.predict_proba(x)
    return found


@pytest.mark.parametrize("paths", [1, 100])
def test_the_scores_of_an_image_do_not_depend_on_others(paths: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = clouds(40, 10, 3)
    fitted = RandomForest(trees=15).fit(x, OneOf(labels), 3)
    expected = fitted.scores(x)
    monkeypatch.setattr(random_forest, "PATHS", paths)
    assert np.array_equal(fitted.scores(x), expected)
    assert fitted.scores(x[:0]).shape == (0, 3)


def test_a_fitted_part_is_restored_from_its_arrays_and_the_seed_decides_it() -> None:
    x, labels = clouds(40, 10, 3)
    fitted, other = RandomForest(trees=12).fit(x, OneOf(labels), 3), RandomForest(trees=12)
    other.restore(fitted.arrays(), "here")
    assert np.array_equal(other.scores(x), fitted.scores(x)) and other.facts() == fitted.facts()
    again, changed = RandomForest(trees=12), RandomForest(trees=12)
    steps = list(again.fit_steps(x, OneOf(labels), 3, seed=0))
    assert steps == [(10, 13), (12, 13), (13, 13)]
    assert all(np.array_equal(array, fitted.arrays()[name]) for name, array in again.arrays().items())
    list(changed.fit_steps(x, OneOf(labels), 3, seed=1))
    assert not np.array_equal(changed.scores(x), fitted.scores(x))


def test_the_threads_do_not_change_the_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = clouds(40, 10, 3)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(random_forest.torch, "get_num_threads", lambda n=threads: n)
        found.append(RandomForest(trees=12).fit(x, OneOf(labels), 3).arrays())
    assert all(np.array_equal(array, found[1][name]) for name, array in found[0].items())


def test_thresholds_decide_as_in_float64() -> None:
    """Use neighbouring float32 numbers, between which a rounded threshold would be equal to the larger."""
    low = np.nextafter(np.float32(4), np.float32(5))
    high = np.nextafter(low, np.float32(5))
    x = np.tile(np.array([[low], [high]], np.float32), (10, 1))
    fitted = RandomForest(trees=10).fit(x, OneOf(np.arange(20) % 2), 2)
    assert (fitted.scores(x).argmax(1) == np.arange(20) % 2).all()


def test_one_image_a_class_or_rows_of_zeros_have_finite_scores() -> None:
    x, _ = clouds(3, 5, 3)
    assert np.isfinite(RandomForest(trees=4).fit(x, OneOf(np.arange(3)), 3).scores(x)).all()
    zeros = RandomForest(trees=4).fit(0 * x, OneOf(np.arange(3)), 3).scores(0 * x)
    assert np.isfinite(zeros).all() and (zeros == zeros[0]).all()
    absent = RandomForest(trees=4).fit(x, OneOf(np.array([0, 2, 2])), 4).scores(x)
    assert np.allclose(np.exp(absent[:, [1, 3]]), 1 / 4 / 5)
    single = RandomForest(trees=4).fit(x, AnyOf(np.array([[1], [0], [1]], np.int8)), 1)
    assert single.scores(x).shape == (3, 1)


def test_features_that_are_not_finite_are_refused() -> None:
    x, labels = clouds(9, 10, 3)
    fitted = RandomForest(trees=2).fit(x, OneOf(labels), 3)
    x[4, 3] = np.nan
    for use in (lambda: RandomForest(trees=2).fit(x, OneOf(labels), 3), lambda: fitted.scores(x)):
        with pytest.raises(UserError, match="not finite"):
            use()
