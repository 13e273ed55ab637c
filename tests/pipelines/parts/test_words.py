"""Histograms of visual words equal brute force, with hard and soft assignment and each pooling and norm."""

from typing import Any

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.parts.words import VisualWords
from tests.support.descriptors import NO_TARGETS, members_of, random_descriptors
from tests.support.tolerance import assert_near

GRIDS = ((1, 1), (2, 2))


def by_hand(words: int, width: int, **settings: Any) -> VisualWords:
    part = VisualWords(words, **settings)
    part.centres_ = np.random.default_rng(1).standard_normal((words, width)).astype(np.float32)
    part.spread_ = np.array([1.3], np.float32)
    return part


def shares(part: VisualWords, x: np.ndarray) -> np.ndarray:
    """Compute the share of each word in a descriptor by brute force."""
    squares = np.array([((x.astype(np.float64) - c) ** 2).sum() for c in part.centres_.astype(np.float64)])
    nearest = sorted(range(len(squares)), key=lambda k: squares[k])
    found = np.zeros(len(squares))
    if not part.soft:
        found[nearest[0]] = 1
        return found
    for k in nearest[: part.nearest]:
        found[k] = np.exp(-squares[k] / (2 * (part.soft * 1.3) ** 2))
    return found / found.sum()


def loop(part: VisualWords, values: np.ndarray) -> np.ndarray:
    """Compute the histogram of a cell."""
    each = np.array([shares(part, x) for x in values]).reshape(-1, len(part.centres_))
    if not len(each):
        return np.zeros(len(part.centres_))
    row = {"sum": each.sum(0), "mean": each.mean(0), "max": each.max(0)}[part.pool]
    if part.norm == "l2":
        return row / np.linalg.norm(row)
    return {"none": row, "l1": row / row.sum(), "hellinger": np.sqrt(row / row.sum())}[part.norm]


@pytest.mark.parametrize("soft", (0.0, 0.5))
@pytest.mark.parametrize("pool", ("sum", "mean", "max"))
@pytest.mark.parametrize("norm", ("none", "l1", "l2", "hellinger"))
def test_each_cell_equals_brute_force(soft: float, pool: str, norm: str) -> None:
    part, x = by_hand(7, 3, soft=soft, nearest=4, pool=pool, norm=norm), random_descriptors(25, 3, grids=GRIDS)
    row = part.transform(x)
    assert row.shape == (1, 5 * 7) and row.dtype == np.float32
    assert_near(row.reshape(5, 7), np.stack([loop(part, x.values[cell]) for cell in members_of(x)]))


def test_images_without_descriptors_give_zeros() -> None:
    for settings in ({}, {"pool": "max"}, {"soft": 1.0, "nearest": 20}, {"norm": "l2", "pool": "mean"}):
        part = by_hand(7, 3, **settings)
        several = [random_descriptors(n, 3, n, GRIDS) for n in (0, 2, 9)]
        rows = part.transform(join_descriptors(several))
        assert not rows[0].any() and rows[1].any() and np.isfinite(rows).all()
        for each, row in zip(several, rows, strict=True):
            assert np.array_equal(part.transform(each)[0], row)


def test_soft_assignment_is_finite_far_from_all_words_and_without_spread() -> None:
    part, x = by_hand(7, 3, soft=0.1), random_descriptors(5, 3)
    far = part.transform(x.with_values(x.values + 1000))
    assert np.isfinite(far).all() and far.any()
    part.spread_ = np.zeros(1, np.float32)
    hard = by_hand(7, 3)
    assert_near(part.transform(x), hard.transform(x))


def test_words_and_their_spread_are_learned_from_descriptors() -> None:
    x = random_descriptors(300, 4)
    part = VisualWords(6)
    assert list(part.fit_steps(x, NO_TARGETS, 2, seed=1))
    squares = ((x.values[:, None].astype(np.float64) - part.centres_) ** 2).sum(2).min(1)
    assert_near(part.spread_, [np.sqrt(squares.mean())])
    assert part.centres_.shape == (6, 4) and part.fit(x, NO_TARGETS, 2).transform(x).shape == (1, 6)
    with pytest.raises(UserError, match="words was fitted to descriptors of 4 numbers, but these have 6"):
        part.transform(random_descriptors(9, 6))
