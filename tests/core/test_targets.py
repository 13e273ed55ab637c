"""Labels that are indexed, joined to other classes, and counted."""

import numpy as np
import torch

from imclass.core.targets import OneOf

TARGETS = OneOf(np.array([2, 0, 1, 2]))


def test_targets_are_indexed_as_their_images_are() -> None:
    assert len(TARGETS) == 4
    assert TARGETS[np.array([3, 1])].labels.tolist() == [2, 0]
    assert TARGETS[1:3].labels.tolist() == [0, 1]


def test_targets_join_other_classes() -> None:
    assert TARGETS.join(np.array([7, 5, 0]), 8).labels.tolist() == [0, 7, 5, 0]


def test_correct_counts_the_highest_scores() -> None:
    scores = torch.eye(3)[torch.tensor([2, 1, 1, 0])]
    assert TARGETS.on("cpu").correct(scores) == 2
