"""Weights of classes against scikit-learn, and the order of a balanced epoch against a plain loop."""

from collections import Counter

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from imclass.core.randomness import Draws
from imclass.data.balance import class_weights, imbalance, is_uneven, order_in_turns, repeat_ids

SIZES = (15, 6, 2)
IDS = np.random.default_rng(0).integers(0, 2**63, 23)
LABELS = np.random.default_rng(1).permutation(np.repeat([0, 1, 3], SIZES))  # no image has class 2
GROUPS = [np.flatnonzero(k == LABELS) for k in range(4)]


def test_weights_are_those_of_scikit_learn() -> None:
    wanted = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=LABELS)
    counts = np.bincount(LABELS)
    found = class_weights(counts, "abcd", True, {})
    assert found is not None and np.allclose(found[[0, 1, 3]], wanted, rtol=1e-12)
    assert found[LABELS].mean() == pytest.approx(1)
    priced = class_weights(counts, "abcd", True, {"d": 5.0})
    assert priced is not None and np.allclose(priced, found * [1, 1, 1, 5])
    alone = class_weights(counts, "abcd", False, {"b": 0.5})
    assert alone is not None and alone.tolist() == [1, 0.5, 1, 1]
    assert class_weights(counts, "abcd", False, {}) is None


def test_a_set_is_uneven_by_its_largest_and_smallest_class() -> None:
    assert imbalance(np.array([15, 6, 0, 2])) == 7.5 and imbalance(np.zeros(3, np.int64)) == 1
    assert not is_uneven(np.array([3, 2])) and is_uneven(np.array([4, 0, 2]))


def stream(epochs: int, seed: int = 0) -> list[tuple[int, int]]:
    """Return the positions and repeats of several epochs."""
    parts = [order_in_turns(Draws(seed, epoch), IDS, GROUPS) for epoch in range(epochs)]
    return [pair for part in parts for pair in zip(*(array.tolist() for array in part), strict=True)]


def test_classes_take_turns_over_the_whole_run() -> None:
    """Check each turn of the three classes, also those that continue in the next epoch."""
    labels = [int(LABELS[position]) for position, _ in stream(6)]
    turns = [labels[i : i + 3] for i in range(0, len(labels) - 2, 3)]
    assert all(sorted(turn) == [0, 1, 3] for turn in turns)
    assert len({tuple(turn) for turn in turns}) == 6  # in every order
    epoch = Counter(labels[:23])
    assert max(epoch.values()) - min(epoch.values()) <= 1


def test_no_image_repeats_before_its_class_is_used() -> None:
    positions = [position for position, _ in stream(9)]
    for k, size in zip((0, 1, 3), SIZES, strict=True):
        mine = [position for position in positions if LABELS[position] == k]
        passes = [mine[i : i + size] for i in range(0, len(mine) - size + 1, size)]
        assert len(passes) >= 4 and all(sorted(one) == GROUPS[k].tolist() for one in passes)
        assert len({tuple(one) for one in passes}) > 1  # in different orders


def test_an_epoch_is_a_function_of_the_seed_and_its_number() -> None:
    whole = stream(4)
    positions, repeats = order_in_turns(Draws(0, 3), IDS, GROUPS)
    assert list(zip(positions.tolist(), repeats.tolist(), strict=True)) == whole[69:]
    assert stream(4, seed=1) != whole


def test_the_repeats_of_an_image_are_augmented_differently() -> None:
    for epoch in range(4):
        positions, repeats = order_in_turns(Draws(0, epoch), IDS, GROUPS)
        ids = repeat_ids(IDS[positions], repeats)
        assert len(set(ids.tolist())) == len(ids) == 23 and (ids >= 0).all()
        assert (ids[repeats == 0] == IDS[positions][repeats == 0]).all() and (repeats > 0).any()
