"""LLC equals a loop over the paper's equations, and its weights sum to 1."""

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import Descriptors, join_descriptors
from imclass.pipelines.parts import llc
from imclass.pipelines.parts.dense_sift import DenseSift
from imclass.pipelines.parts.llc import LocalityCoding
from tests.support.descriptors import NO_TARGETS, members_of, random_descriptors
from tests.support.tolerance import assert_near

GRIDS = ((1, 1), (2, 2), (4, 4))


def by_hand(words: int, width: int, nearest: int = 5) -> LocalityCoding:
    part = LocalityCoding(words, nearest)
    part.centres_ = np.random.default_rng(1).standard_normal((words, width)).astype(np.float32)
    return part


def loop(part: LocalityCoding, x: np.ndarray) -> np.ndarray:
    """Compute the code of a descriptor by the paper's equations in float64."""
    x, centres = x.astype(np.float64), part.centres_.astype(np.float64)
    near = np.argsort(((centres - x) ** 2).sum(1))[: part.nearest]
    differences = centres[near] - x
    products = differences @ differences.T
    products += 1e-4 * np.trace(products) * np.eye(len(near))
    weights = np.linalg.solve(products, np.ones(len(near)))
    code = np.zeros(len(centres))
    code[near] = weights / weights.sum()
    return code


def dense_codes(part: LocalityCoding, x: np.ndarray) -> np.ndarray:
    words, weights = part.code(x)
    codes = np.zeros((len(x), len(part.centres_)))
    np.put_along_axis(codes, words, weights, 1)
    return codes


def test_codes_equal_a_loop_over_the_papers_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llc, "BLOCK", 16)
    part, x = by_hand(30, 12), random_descriptors(50, 12).values
    assert_near(dense_codes(part, x), np.stack([loop(part, row) for row in x]))


@pytest.mark.parametrize("scale", (1e-3, 1.0, 1e3))
def test_codes_sum_to_1_and_have_at_most_5_numbers_other_than_0(scale: float) -> None:
    part, x = by_hand(40, 3), random_descriptors(60, 3).values * np.float32(scale)
    x[:10] = part.centres_[:10]
    codes = dense_codes(part, x)
    assert (codes < 0).any()  # the weights are not shares
    assert np.abs(codes.sum(1) - 1).max() <= 1e-5 * np.abs(codes).max()
    assert ((codes != 0).sum(1) <= 5).all()


def test_the_values_of_a_cell_are_the_highest_weights() -> None:
    part, x = by_hand(20, 6), random_descriptors(120, 6, grids=GRIDS)
    codes = np.stack([loop(part, row) for row in x.values])
    expected = [codes[cell].max(0, initial=0) for cell in members_of(x)]
    row = part.transform(x)
    assert row.dtype == np.float32 and row.shape == (1, 21 * 20)
    assert_near(row.reshape(21, 20), np.stack(expected))


def test_equal_words_have_equal_weights() -> None:
    part = LocalityCoding(3, nearest=2)
    part.centres_ = np.array([[1, 0], [1, 0], [9, 9]], np.float32)
    for x in ([[1, 0]], [[0, 0]], [[1, 3]]):  # the first equals the words
        assert_near(dense_codes(part, np.array(x, np.float32)), np.array([[0.5, 0.5, 0]]))


def test_few_words_and_descriptors_of_zeros_are_coded_like_others() -> None:
    part = by_hand(3, 4)
    codes = dense_codes(part, np.zeros((2, 4), np.float32))
    assert_near(codes.sum(1), np.ones(2))
    assert np.array_equal(codes[0], codes[1])


def test_images_without_descriptors_give_zeros_and_others_do_not_change() -> None:
    part = by_hand(9, 3)
    several = [random_descriptors(n, 3, n, GRIDS) for n in (0, 2, 30)]
    rows = part.transform(join_descriptors(several))
    assert not rows[0].any() and rows[1].any()
    for each, row in zip(several, rows, strict=True):
        assert np.array_equal(part.transform(each)[0], row)


def test_words_are_learned_restored_and_used_for_flat_images() -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40, 40, 3), np.uint8), np.full((40, 40, 3), 9, np.uint8)]
    x: Descriptors = DenseSift().transform(images)
    part = LocalityCoding(8)
    assert list(part.fit_steps(x, NO_TARGETS, 2, seed=1))
    again = LocalityCoding(8)
    again.restore(part.arrays(), "model")
    rows = part.transform(x)
    assert np.array_equal(rows, again.transform(x)) and np.isfinite(rows).all() and rows[1].any()
    assert part.word_numbers().tolist() == list(range(8))


def test_unusable_descriptors_are_an_error() -> None:
    with pytest.raises(UserError, match="llc has no centres_, because it has not been fitted"):
        LocalityCoding().transform(random_descriptors(5, 3))
    with pytest.raises(UserError, match="llc was fitted to descriptors of 4 numbers, but these have 6"):
        by_hand(5, 4).transform(random_descriptors(9, 6))
    with pytest.raises(UserError, match="fewer than the 9 words"):
        LocalityCoding(9).fit(random_descriptors(8, 3), NO_TARGETS, 2)
    bad = random_descriptors(9, 3)
    bad.values[4, 1] = np.nan
    for use in (by_hand(5, 3).transform, lambda x: LocalityCoding(2).fit(x, NO_TARGETS, 2)):
        with pytest.raises(UserError, match="1 of 9 descriptors contain NaN or infinity"):
            use(bad)
