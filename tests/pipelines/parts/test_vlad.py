"""VLAD equals a loop over its equations in every cell."""

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.parts.vlad import Vlad
from tests.support.descriptors import NO_TARGETS, members_of, random_descriptors
from tests.support.tolerance import assert_near

GRIDS = ((1, 1), (2, 2))


def by_hand(words: int, width: int, intra: bool = False, power: float = 0.5) -> Vlad:
    part = Vlad(words, intra, power)
    part.centres_ = np.random.default_rng(1).standard_normal((words, width)).astype(np.float32)
    return part


def loop(part: Vlad, values: np.ndarray) -> np.ndarray:
    """Compute the VLAD of a cell, one descriptor at a time."""
    centres = part.centres_.astype(np.float64)
    sums = np.zeros_like(centres)
    for x in values.astype(np.float64):
        k = min(range(len(centres)), key=lambda k: ((x - centres[k]) ** 2).sum())
        sums[k] += x - centres[k]
    if part.intra:
        sums = sums / np.maximum(np.sqrt((sums**2).sum(1, keepdims=True)), 1e-300)
    row = np.sign(sums.ravel()) * np.abs(sums.ravel()) ** part.power
    return row / max(float(np.linalg.norm(row)), 1e-300)


@pytest.mark.parametrize("intra", (False, True))
@pytest.mark.parametrize("power", (1.0, 0.5))
def test_each_cell_equals_a_loop(intra: bool, power: float) -> None:
    part, x = by_hand(6, 5, intra, power), random_descriptors(80, 5, grids=GRIDS)
    row = part.transform(x)
    assert row.shape == (1, 5 * 6 * 5) and row.dtype == np.float32
    expected = np.stack([loop(part, x.values[cell]) for cell in members_of(x)])
    assert_near(row.reshape(5, -1), expected, 2e-5 if power == 1 else 4e-4)
    assert_near(np.linalg.norm(row.reshape(5, -1), axis=1), np.ones(5), 1e-6)


def test_images_without_descriptors_and_with_few_are_encoded() -> None:
    part = by_hand(6, 5, intra=True)
    several = [random_descriptors(n, 5, n, GRIDS) for n in (0, 2, 9)]
    rows = part.transform(join_descriptors(several))
    assert not rows[0].any() and np.isfinite(rows).all()
    for each, row in zip(several, rows, strict=True):
        assert np.array_equal(part.transform(each)[0], row)
    part.centres_[:] = several[1].values[0]  # every residual of that descriptor is 0
    assert not part.transform(several[1].select(np.array([0]))).any()


def test_words_are_learned_from_descriptors() -> None:
    x = random_descriptors(300, 4)
    part = Vlad(5)
    assert list(part.fit_steps(x, NO_TARGETS, 2, seed=1))
    assert part.centres_.shape == (5, 4) and part.fit(x, NO_TARGETS, 2).transform(x).shape == (1, 20)
    x.values[0, 0] = np.nan
    with pytest.raises(UserError, match="NaN or infinity"):
        part.fit(x, NO_TARGETS, 2)
    with pytest.raises(UserError, match="vlad was fitted to descriptors of 4 numbers, but these have 6"):
        part.transform(random_descriptors(9, 6))
