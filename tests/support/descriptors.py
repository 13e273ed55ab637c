"""Random descriptors for tests of parts."""

import numpy as np

from imclass.core.targets import OneOf
from imclass.pipelines.descriptors import ONE_CELL, Descriptors, Grid

NO_TARGETS = OneOf(np.zeros(1, np.int64))  # codebooks are learned without targets


def random_descriptors(
    count: int, width: int, seed: int = 0, grids: tuple[Grid, ...] = ONE_CELL, height: int = 40, length: int = 60
) -> Descriptors:
    """Return the descriptors of one image of `height` rows and `length` columns, at random positions."""
    random = np.random.default_rng(seed)
    return Descriptors(
        values=random.standard_normal((count, width)).astype(np.float32),
        positions=(random.random((count, 2)) * (length, height)).astype(np.float32),
        scales=np.full(count, 8, np.float32),
        image=np.zeros(count, np.int64),
        sizes=np.array([[height, length]]),
        grids=grids,
    )


def members_of(x: Descriptors) -> list[np.ndarray]:
    """Return the positions of the descriptors in each cell of each grid, found one by one."""
    found: list[list[int]] = []
    for rows, columns in x.grids:
        cells: list[list[int]] = [[] for _ in range(rows * columns)]
        for i, (across, down) in enumerate(x.positions.tolist()):
            height, width = x.sizes[0].tolist()
            row, column = min(int(down / height * rows), rows - 1), min(int(across / width * columns), columns - 1)
            cells[row * columns + column].append(i)
        found += cells
    return [np.array(cell, int) for cell in found]
