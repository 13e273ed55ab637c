"""Batches and parts of an epoch against a plain loop over positions."""

import numpy as np
import pytest

from imclass.data.order import batch_count, cut_batches, divide_batch


def batches_by_loop(images: int, batch: int, pairs: bool) -> list[list[int]]:
    """Fill batches one image at a time. Under `pairs` a single last image goes into the batch before."""
    made: list[list[int]] = []
    for i in range(images):
        if not made or len(made[-1]) == batch:
            made.append([])
        made[-1].append(i)
    if pairs and len(made) > 1 and len(made[-1]) == 1:
        last = made.pop()
        made[-1] += last
    return made


@pytest.mark.parametrize("pairs", [False, True])
def test_batches_are_filled_in_order(pairs: bool) -> None:
    for images in range(30):
        for batch in range(1, 12):
            expected = batches_by_loop(images, batch, pairs)
            found = cut_batches(np.arange(images), batch, pairs)
            assert [part.tolist() for part in found] == expected
            assert batch_count(images, batch, pairs) == len(expected)
            assert not pairs or batch == 1 or images == 1 or all(len(part) >= 2 for part in found)


def test_a_last_batch_of_one_image_is_kept_without_batch_norm() -> None:
    assert [len(part) for part in cut_batches(np.arange(9), 4, pairs=False)] == [4, 4, 1]
    assert [len(part) for part in cut_batches(np.arange(9), 4, pairs=True)] == [4, 5]


@pytest.mark.parametrize("pairs", [False, True])
def test_parts_share_a_batch_evenly(pairs: bool) -> None:
    for images in range(1, 20):
        for parts in range(1, 10):
            found = divide_batch(np.arange(images), parts, pairs)
            sizes = [len(part) for part in found]
            assert np.concatenate(found).tolist() == list(range(images))
            assert len(found) == max(1, min(parts, images // 2 if pairs else images))
            assert sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1
            assert min(sizes) >= min(images, 1 + pairs)
