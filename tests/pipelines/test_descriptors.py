"""Descriptors of several images can be joined, selected, taken apart and assigned to the cells of grids."""

import numpy as np

from imclass.pipelines.descriptors import Descriptors, join_descriptors


def descriptors(count: int, height: int, width: int, seed: int = 0) -> Descriptors:
    random = np.random.default_rng(seed)
    return Descriptors(
        values=random.random((count, 3), np.float32),
        positions=(random.random((count, 2)) * (width, height)).astype(np.float32),
        scales=np.full(count, 8, np.float32),
        image=np.zeros(count, np.int64),
        sizes=np.array([[height, width]]),
    )


def test_joined_descriptors_come_apart_again() -> None:
    several = [descriptors(4, 20, 30), descriptors(0, 5, 5), descriptors(2, 9, 7, 1)]
    joined = join_descriptors(several)
    assert joined.images == 3 and len(joined) == 6 and joined.image.tolist() == [0, 0, 0, 0, 2, 2]
    for before, after in zip(several, joined.of_each_image(), strict=True):
        assert np.array_equal(before.values, after.values) and np.array_equal(before.sizes, after.sizes)
        assert np.array_equal(before.positions, after.positions) and not after.image.any()
    kept = joined.select(joined.image == 2)
    assert kept.images == 3 and np.array_equal(kept.values, several[2].values)


def test_each_grid_numbers_its_cells_by_rows() -> None:
    x, y = np.meshgrid([1.0, 11.0, 29.9], [0.0, 19.0])
    corners = Descriptors(
        values=np.zeros((6, 1), np.float32),
        positions=np.stack([x.ravel(), y.ravel()], 1).astype(np.float32),
        scales=np.ones(6, np.float32),
        image=np.zeros(6, np.int64),
        sizes=np.array([[20, 30]]),
        grids=((1, 1), (2, 3), (3, 1)),
    )
    assert corners.cell_numbers().tolist() == [[0] * 6, [0, 1, 2, 3, 4, 5], [0, 0, 0, 2, 2, 2]]
    assert corners.cells == 10


def test_a_centre_on_the_border_is_in_the_last_cell() -> None:
    edge = descriptors(1, 10, 10)
    edge.positions[:] = 10
    assert Descriptors(**{**vars(edge), "grids": ((2, 2),)}).cell_numbers().tolist() == [[3]]
