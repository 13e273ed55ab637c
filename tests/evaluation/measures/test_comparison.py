"""The paired test equals scipy's, plain counts and its equations."""

import numpy as np
import pytest
import scipy.stats

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.comparison import NamedScores, changes, compare_pairs, mcnemar_p_value, pair_images

CLASSES = ("ant", "bee", "cow")


def named_scores(
    name: str, predicted: list[int], labels: list[int], images: list[str], classes: tuple[str, ...] = CLASSES
) -> NamedScores:
    """Return scores with these confident predictions."""
    scores = 9 * np.eye(len(classes), dtype=np.float32)[predicted]
    n = len(labels)
    return NamedScores(name, evaluation_of(classes, OneOf(np.array(labels)), scores, np.arange(n), n), tuple(images))


def random_pair(n: int = 400) -> tuple[NamedScores, NamedScores]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, n)
    guesses = [np.where(random.random(n) < share, labels, random.integers(0, 3, n)) for share in (0.6, 0.7)]
    images = [f"{i}.png" for i in range(n)]
    a, b = (
        named_scores(name, guess.tolist(), labels.tolist(), images) for name, guess in zip("ab", guesses, strict=True)
    )
    return a, b


@pytest.mark.parametrize(("a", "b"), [(0, 1), (5, 5), (1, 9), (9, 1), (0, 12), (100, 140), (2500, 2600), (3000, 2000)])
def test_mcnemars_p_is_scipys_binomial_test(a: int, b: int) -> None:
    assert mcnemar_p_value(a, b) == pytest.approx(scipy.stats.binomtest(a, a + b).pvalue, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    """Compare with the chance of at most one or at least nine heads among ten coins: 2 (1 + 10) / 1024."""
    assert mcnemar_p_value(1, 9) == 22 / 1024
    assert mcnemar_p_value(0, 0) == mcnemar_p_value(7, 7) == 1.0


def test_the_comparison_counts_image_by_image() -> None:
    a, b = random_pair()
    pairs = pair_images(a, b)
    found = compare_pairs(pairs)
    hits_a, hits_b = (j.evaluation.scores.argmax(1) == j.evaluation.targets.numpy() for j in (a, b))
    cells = [[int(((hits_a == x) & (hits_b == y)).sum()) for y in (True, False)] for x in (True, False)]
    assert [[found.both_right, found.a_alone_right], [found.b_alone_right, found.both_wrong]] == cells
    assert (found.top1_a, found.top1_b) == (hits_a.mean(), hits_b.mean())
    assert found.difference == pytest.approx(found.top1_b - found.top1_a, rel=1e-12)
    assert found.difference == pytest.approx((found.b_alone_right - found.a_alone_right) / found.images)
    assert found.p_value == mcnemar_p_value(cells[0][1], cells[1][0])
    assert (found.images, found.only_a, found.only_b) == (400, 0, 0)


def test_the_interval_is_paired() -> None:
    """Compare with scipy's bootstrap of the differences; one of two independent samples would be much wider."""
    a, b = random_pair()
    pairs = pair_images(a, b)
    gained = pairs.right_b.astype(float) - pairs.right_a
    expected = scipy.stats.bootstrap((gained,), np.mean, n_resamples=9999, method="percentile", rng=1)
    assert compare_pairs(pairs, draws=4000).interval == pytest.approx(tuple(expected.confidence_interval), abs=0.006)
    same = compare_pairs(pair_images(a, NamedScores("c", a.evaluation, a.images)))
    assert same.interval == (0.0, 0.0) and same.p_value == 1.0 and same.is_chance
    assert np.std(gained) / 20 < np.sqrt(np.var(pairs.right_a) + np.var(pairs.right_b)) / 20


def test_images_are_joined_by_name_and_class() -> None:
    a = named_scores("a", [0, 1, 2, 0], [0, 1, 2, 0], ["1", "2", "3", "4"])
    b = named_scores("b", [0, 2, 1, 1], [0, 2, 1, 1], ["4", "3", "2", "9"])
    pairs = pair_images(a, b)
    assert pairs.images == ("2", "3", "4") and pairs.right_a.all() and pairs.right_b.all()
    assert (pairs.only_a, pairs.only_b) == (1, 1)
    relabelled = named_scores("b", [0, 2, 1, 1], [1, 2, 1, 1], ["4", "3", "2", "9"])
    assert pair_images(a, relabelled).images == ("2", "3")  # "4" has another class there


def test_other_orders_of_classes_do_not_matter() -> None:
    a = named_scores("a", [0, 1, 2], [0, 1, 2], ["1", "2", "3"])
    b = named_scores("b", [2, 0, 0], [2, 0, 1], ["1", "2", "3"], ("bee", "cow", "ant"))
    pairs = pair_images(a, b)
    assert pairs.predicted_b.tolist() == [0, 1, 1] and pairs.right_b.tolist() == [True, True, False]
    assert [c.predicted_b for c in changes(pairs, 5)] == ["bee"]


def test_other_classes_no_common_image_and_duplicates_are_refused() -> None:
    a = named_scores("run-a", [0], [0], ["1"])
    with pytest.raises(UserError, match="only in run-a: 'cow'; only in b: 'doe', 'elk'"):
        pair_images(a, named_scores("b", [0], [0], ["1"], ("ant", "bee", "doe", "elk")))
    with pytest.raises(UserError, match="no image in common: '1' of run-a is not among the 1 images of b"):
        pair_images(a, named_scores("b", [0], [0], ["2"]))
    with pytest.raises(UserError, match="b contains the image '1' twice"):
        pair_images(a, named_scores("b", [0, 1], [0, 0], ["1", "1"]))


def test_changes_are_the_largest_moves_and_nothing_else() -> None:
    labels, images = np.array([0, 0, 0, 0]), ("same", "moved", "swapped", "far")
    first = np.array([[3, 2, 1], [1, 3, 2], [1, 3, 2], [3, 2, 1]], np.float32)
    second = np.array([[6, 2, 1], [2, 3, 1], [1, 2, 3], [1, 2, 3]], np.float32)
    a, b = (
        NamedScores(name, evaluation_of(CLASSES, OneOf(labels), s, np.arange(4), 4), images)
        for name, s in zip("ab", (first, second), strict=True)
    )
    pairs = pair_images(a, b)
    found = changes(pairs, 10)
    assert [(c.image, c.rank_a, c.rank_b) for c in found] == [("far", 1, 3), ("moved", 3, 2), ("swapped", 3, 3)]
    assert (found[2].label, found[2].predicted_a, found[2].predicted_b) == ("ant", "bee", "cow")
    assert changes(pairs, 1) == found[:1] and changes(pairs, 0) == ()
    counted = compare_pairs(pairs)
    assert (counted.ranks_changed, counted.predictions_changed) == (2, 2)
