"""Local descriptors: vectors that each describe a patch of an image.

Axes in annotations: D descriptors, d numbers in each, N images, G grids of a spatial pyramid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Int64

Grid: TypeAlias = tuple[int, int]  # rows and columns of cells, each of the same size
ONE_CELL: tuple[Grid, ...] = ((1, 1),)


@dataclass(frozen=True, eq=False)
class Descriptors:
    """The local descriptors of one or several images, ordered by image."""

    values: Float32[np.ndarray, "D d"]
    positions: Float32[np.ndarray, "D 2"]  # x and y of the patches' centres in pixels, from the image's left top corner
    scales: Float32[np.ndarray, "D"]  # sides of the patches in pixels of the image
    image: Int64[np.ndarray, "D"]  # the number of each descriptor's image, in ascending order
    sizes: Int64[np.ndarray, "N 2"]  # height and width of each image in pixels
    grids: tuple[Grid, ...] = ONE_CELL  # of the spatial pyramid: an encoder encodes each cell of each grid

    def __len__(self) -> int:
        return len(self.values)

    @property
    def images(self) -> int:
        """Return the number of images, including those without descriptors."""
        return len(self.sizes)

    @property
    def cells(self) -> int:
        """Return the number of cells in all grids."""
        return sum(rows * columns for rows, columns in self.grids)

    def with_values(self, values: Float32[np.ndarray, "D e"]) -> "Descriptors":
        """Return descriptors of the same patches with other values."""
        return replace(self, values=values)

    def select(self, kept: Bool[np.ndarray, "D"] | Int64[np.ndarray, "E"]) -> "Descriptors":
        """Return some of the descriptors, given by a mask or by positions in ascending order. All images remain."""
        arrays = {name: getattr(self, name)[kept] for name in ("values", "positions", "scales", "image")}
        return replace(self, **arrays)

    def of_each_image(self) -> list["Descriptors"]:
        """Return the descriptors of each image."""
        ends = np.searchsorted(self.image, np.arange(self.images + 1))
        return [
            replace(
                self,
                values=self.values[low:high],
                positions=self.positions[low:high],
                scales=self.scales[low:high],
                image=np.zeros(high - low, np.int64),
                sizes=self.sizes[n : n + 1],
            )
            for n, (low, high) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        ]

    def relative_positions(self) -> Float32[np.ndarray, "D 2"]:
        """Return x and y of the centres as fractions of the image's width and height, from 0 to 1."""
        return (self.positions / self.sizes[self.image][:, ::-1]).astype(np.float32)

    def cell_numbers(self) -> Int64[np.ndarray, "G D"]:
        """Return the cell of each descriptor in each grid, counted by rows. Each grid's numbers begin with 0."""
        x, y = self.relative_positions().T
        found = []
        for rows, columns in self.grids:
            row = np.clip((y * rows).astype(np.int64), 0, rows - 1)
            column = np.clip((x * columns).astype(np.int64), 0, columns - 1)
            found.append(row * columns + column)
        return np.stack(found)


def join_descriptors(several: Sequence[Descriptors]) -> Descriptors:
    """Return the descriptors of all images as one value. There must be at least one, and all must be of one kind."""
    first = np.cumsum([0, *(each.images for each in several)])
    return replace(
        several[0],
        values=np.concatenate([each.values for each in several]),
        positions=np.concatenate([each.positions for each in several]),
        scales=np.concatenate([each.scales for each in several]),
        image=np.concatenate([each.image + start for each, start in zip(several, first, strict=False)]),
        sizes=np.concatenate([each.sizes for each in several]),
    )
