"""The triangle encoding equals a loop over its equation, in the cells of any grids and with any size of block."""

from typing import Any

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.parts import triangle
from imclass.pipelines.parts.triangle import Triangle
from tests.support.descriptors import NO_TARGETS, members_of, random_descriptors
from tests.support.tolerance import assert_near

GRIDS = ((1, 1), (2, 2), (3, 1))


def by_hand(words: int, width: int, pool: Any = "sum", shift: float = 0) -> Triangle:
    part = Triangle(words, pool=pool)
    part.centres_ = (np.random.default_rng(1).standard_normal((words, width)) + shift).astype(np.float32)
    return part


def loop(part: Triangle, values: np.ndarray) -> np.ndarray:
    """Encode the descriptors of a cell one by one."""
    total = np.zeros(len(part.centres_))
    for x in values.astype(np.float64):
        distances = np.array([np.linalg.norm(x - c) for c in part.centres_.astype(np.float64)])
        total += np.maximum(0, distances.mean() - distances)
    return total / max(len(values), 1) if part.pool == "mean" else total


@pytest.mark.parametrize("numbers", [1, 30, 1 << 19])  # a descriptor, several, or all in a block
@pytest.mark.parametrize("pool", ["sum", "mean"])
def test_each_cell_equals_a_loop(pool: str, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triangle, "BLOCK_NUMBERS", numbers)
    part, x = by_hand(7, 3, pool), random_descriptors(25, 3, grids=GRIDS)
    row = part.transform(x)
    assert row.shape == (1, 8 * 7) and row.dtype == np.float32
    assert_near(row.reshape(8, 7), np.stack([loop(part, x.values[cell]) for cell in members_of(x)]))


def test_the_sums_of_quadrants_add_up_to_that_of_the_image() -> None:
    part, x = by_hand(9, 4), random_descriptors(200, 4, grids=((1, 1), (2, 2)))
    whole, *quadrants = part.transform(x).reshape(5, 9)
    assert_near(np.sum(quadrants, 0), whole)


def test_descriptors_far_from_the_origin_and_equal_to_words_are_accurate() -> None:
    part, x = by_hand(7, 3, shift=1000), random_descriptors(12, 3)
    x = x.with_values((x.values + 1000).astype(np.float32))
    x.values[:7] = part.centres_
    assert_near(part.transform(x)[0], loop(part, x.values), 1e-3)


def test_images_without_descriptors_give_zeros_and_others_do_not_depend_on_them() -> None:
    for part in (by_hand(7, 3), by_hand(7, 3, "mean")):
        several = [random_descriptors(n, 3, n, GRIDS) for n in (0, 2, 40)]
        rows = part.transform(join_descriptors(several))
        assert not rows[0].any() and rows[1].any() and np.isfinite(rows).all()
        for each, row in zip(several, rows, strict=True):
            assert np.array_equal(part.transform(each)[0], row)


def test_words_are_learned_and_restored_to_the_bit() -> None:
    x = random_descriptors(300, 4, grids=GRIDS)
    part, other = Triangle(6), Triangle(6)
    assert list(part.fit_steps(x, NO_TARGETS, 2, seed=1)) and part.centres_.shape == (6, 4)
    other.restore(part.arrays(), "here")
    assert np.array_equal(other.transform(x), part.transform(x)) and part.word_numbers().tolist() == list(range(6))
    with pytest.raises(UserError, match="triangle was fitted to descriptors of 4 numbers, but these have 3"):
        part.transform(random_descriptors(9, 3))
