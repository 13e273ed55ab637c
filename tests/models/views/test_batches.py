"""Images and views are cut into batches of bounded size, in order."""

import numpy as np
import pytest
import torch

from imclass.core.preprocess import Preprocess
from imclass.models.views.batches import batch_by_shape, score_one_view, split_by_bytes, to_batch, views_per_batch
from tests.support.viewers import Linear, ragged_images

RULE = Preprocess(size=12, scale=16)


def test_batches_keep_the_order_and_reach_the_size() -> None:
    owned = [(i, np.full((2, 5, 1), i, np.uint8)) for i in range(7)]
    found = list(split_by_bytes(owned, 30))
    assert [owners for owners, _ in found] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [view.max() for _, held in found for view in held] == list(range(7))
    assert list(split_by_bytes([], 30)) == []


def test_a_view_larger_than_a_batch_is_alone_in_one() -> None:
    owned = [(i, np.zeros((2, 5, 1), np.uint8)) for i in range(2)]
    assert [owners for owners, _ in split_by_bytes(owned, 1)] == [[0], [1]]


def test_the_number_of_views_per_batch_depends_on_size_and_colour() -> None:
    assert [views_per_batch(Preprocess(size=side, scale=side)) for side in (32, 224, 2000)] == [682, 13, 1]
    assert views_per_batch(Preprocess(size=224, colour="grey")) == 41


def test_batches_by_shape_contain_every_image() -> None:
    images = ragged_images((4, 5, 3), (5, 4, 3), (4, 5, 3))
    found = {i: view for owners, batch in batch_by_shape(images) for i, view in zip(owners, batch, strict=True)}
    assert sorted(found) == [0, 1, 2]
    assert all((found[i].numpy() == image.transpose(2, 0, 1)).all() for i, image in enumerate(images))


def test_the_one_view_is_made_by_the_preprocess() -> None:
    images, classifier = ragged_images((20, 30, 3), (16, 16, 3)), Linear(RULE)
    scores = score_one_view(classifier, images, RULE)
    for view, image in zip(classifier.seen[0], images, strict=True):
        assert (view.numpy() == RULE(image).transpose(2, 0, 1)).all()
    assert torch.equal(scores, score_one_view(classifier, images, RULE, classifier.scores))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_does_not_share_memory_with_the_array(channels: int) -> None:
    views = np.zeros((2, 4, 4, channels), np.uint8)
    views.flags.writeable = False  # like a memory-mapped data set; torch would warn if it shared the memory
    batch = to_batch(views)
    batch += 1
    assert batch.shape == (2, channels, 4, 4) and batch.is_contiguous() and not views.any()
