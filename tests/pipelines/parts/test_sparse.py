"""Sparse codes are pooled by the highest magnitude in each cell."""

import numpy as np
import pytest
from sklearn.decomposition import sparse_encode

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.parts.dense_sift import DenseSift
from imclass.pipelines.parts.sparse import SparseCoding
from imclass.pipelines.solvers import lasso
from tests.support.descriptors import NO_TARGETS, members_of, random_descriptors
from tests.support.tolerance import assert_near

GRIDS = ((1, 1), (2, 2), (4, 4))


def by_hand(words: int, width: int) -> SparseCoding:
    part = SparseCoding(words)
    found = np.random.default_rng(1).standard_normal((words, width)).astype(np.float32)
    part.dictionary_ = found / np.linalg.norm(found, axis=1, keepdims=True)
    return part


@pytest.mark.parametrize("block", (2048, 13))
def test_the_values_of_a_cell_are_the_highest_magnitudes_of_scikit_learns_codes(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasso, "BLOCK", block)
    part, x = by_hand(20, 12), random_descriptors(90, 12, grids=GRIDS)
    rows = x.values.astype(np.float64) / np.linalg.norm(x.values.astype(np.float64), axis=1, keepdims=True)
    codes = sparse_encode(rows, part.dictionary_.astype(np.float64), algorithm="lasso_lars", alpha=0.15)
    assert (codes < 0).any()
    expected = [np.abs(codes[cell]).max(0, initial=0) for cell in members_of(x)]
    row = part.transform(x)
    assert row.dtype == np.float32 and row.shape == (1, 21 * 20)
    assert_near(row.reshape(21, 20), np.stack(expected), 1e-4)


def test_the_length_of_descriptors_does_not_matter() -> None:
    part, x = by_hand(20, 12), random_descriptors(30, 12)
    assert_near(part.transform(x.with_values(x.values * np.float32(512))), part.transform(x), 1e-4)


def test_images_without_descriptors_give_zeros_and_others_do_not_change() -> None:
    part = by_hand(9, 3)
    several = [random_descriptors(n, 3, n, GRIDS) for n in (0, 2, 30)]
    rows = part.transform(join_descriptors(several))
    assert not rows[0].any() and rows[1].any()
    for each, row in zip(several, rows, strict=True):
        assert np.array_equal(part.transform(each)[0], row)


def test_the_dictionary_is_learned_restored_and_used_for_flat_images() -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40, 40, 3), np.uint8), np.full((40, 40, 3), 9, np.uint8)]
    x = DenseSift().transform(images)
    part = SparseCoding(8, iterations=3)
    assert len(list(part.fit_steps(x, NO_TARGETS, 2, seed=1))) == 3
    assert_near(np.linalg.norm(part.dictionary_, axis=1), np.ones(8), 1e-6)
    again = SparseCoding(8)
    again.restore(part.arrays(), "model")
    rows = part.transform(x)
    assert np.array_equal(rows, again.transform(x)) and rows[0].any() and not rows[1].any()
    assert part.word_numbers().tolist() == list(range(8))


def test_unusable_descriptors_are_an_error() -> None:
    with pytest.raises(UserError, match="sparse has no dictionary_, because it has not been fitted"):
        SparseCoding().transform(random_descriptors(5, 3))
    with pytest.raises(UserError, match="sparse was fitted to descriptors of 4 numbers, but these have 6"):
        by_hand(5, 4).transform(random_descriptors(9, 6))
    with pytest.raises(UserError, match="fewer than the 9 words of the dictionary"):
        SparseCoding(9).fit(random_descriptors(8, 3), NO_TARGETS, 2)
    bad = random_descriptors(9, 3)
    bad.values[4, 1] = np.nan
    for use in (by_hand(5, 3).transform, lambda x: SparseCoding(2).fit(x, NO_TARGETS, 2)):
        with pytest.raises(UserError, match="1 of 9 descriptors contain NaN or infinity"):
            use(bad)
