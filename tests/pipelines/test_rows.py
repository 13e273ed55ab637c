"""Matrices that are read in blocks."""

import numpy as np
import pytest

from imclass.pipelines.rows import BLOCK_NUMBERS, ArrayRows, RowMatrix, as_rows, blocks


@pytest.mark.parametrize(("length", "width"), [(0, 3), (1, 1), (7, BLOCK_NUMBERS), (5, 2 * BLOCK_NUMBERS), (10, 0)])
@pytest.mark.parametrize("numbers", [1, 10, BLOCK_NUMBERS])
def test_blocks_are_bounded_and_cover_every_position_once(
    length: int, width: int, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imclass.pipelines.rows.BLOCK_NUMBERS", numbers)
    found = list(blocks(length, width))
    assert [i for low, high in found for i in range(low, high)] == list(range(length))
    assert all(high - low == 1 or (high - low) * width <= numbers for low, high in found)


def test_an_array_gives_its_rows_and_columns() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    rows = as_rows(array)
    assert isinstance(rows, ArrayRows) and isinstance(rows, RowMatrix) and as_rows(rows) is rows
    assert (rows.shape, len(rows)) == ((3, 4), 3)
    assert np.array_equal(rows[1:3], array[1:3]) and np.array_equal(rows.columns(1, 3), array[:, 1:3])
