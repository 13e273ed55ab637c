"""Atoms partition the descriptors of an image, and the nearest words are found."""

import numpy as np
import torch

from imclass.pipelines.encoding import group_by_atoms, nearest_words
from tests.support.descriptors import members_of, random_descriptors
from tests.support.tolerance import assert_near


def test_sums_over_atoms_are_those_of_cells() -> None:
    for count in (0, 1, 5, 200):
        x = random_descriptors(count, 3, grids=((1, 1), (2, 2), (3, 1)))
        atoms = group_by_atoms(x)
        values = torch.from_numpy(x.values[atoms.order]).double()
        sums = torch.zeros(len(atoms.ends), 3, dtype=torch.float64)
        for atom, some in atoms.blocks(7):
            assert 0 < some.stop - some.start <= 7 and (atoms.number[some] == atom).all()
            sums[atom] += values[some].sum(0)
        expected = [x.values[cell].astype(np.float64).sum(0) for cell in members_of(x)]
        assert_near(atoms.sum_cells(sums), torch.from_numpy(np.stack(expected)))
        assert atoms.counts.tolist() == [len(cell) for cell in members_of(x)]
        assert sorted(atoms.order.tolist()) == list(range(count))


def test_atoms_are_at_most_as_many_as_the_cells_that_grids_cut() -> None:
    atoms = group_by_atoms(random_descriptors(2000, 1, grids=((1, 1), (2, 2), (4, 4))))
    assert len(atoms.ends) == 16  # the cells of 4x4 lie within those of 2x2
    assert len(group_by_atoms(random_descriptors(2000, 1, grids=((2, 1), (3, 1)))).ends) == 4


def test_the_nearest_words_are_those_of_brute_force() -> None:
    random = np.random.default_rng(0)
    values = (random.standard_normal((50, 4)) + 500).astype(np.float32)
    centres = (random.standard_normal((9, 4)) + 500).astype(np.float32)
    squares = ((values[:, None].astype(np.float64) - centres) ** 2).sum(2)
    for count in (1, 3, 9):
        found, distances = nearest_words(values, centres, count, block=16)
        assert np.array_equal(found, squares.argsort(1)[:, :count])
        assert_near(distances, np.sort(squares, 1)[:, :count])
    assert nearest_words(values[:0], centres, 2)[0].shape == (0, 2)
