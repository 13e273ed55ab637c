"""Targets are indexed, joined to other classes, and counted."""

import numpy as np
import pytest
import torch

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf, Soft, labels_of, marks_of

TARGETS = OneOf(np.array([2, 0, 1, 2]))


def test_targets_are_indexed_like_their_images() -> None:
    assert len(TARGETS) == 4
    assert TARGETS[np.array([3, 1])].labels.tolist() == [2, 0]
    assert TARGETS[1:3].labels.tolist() == [0, 1]


def test_targets_join_other_classes() -> None:
    assert TARGETS.renumber(np.array([7, 5, 0]), 8).labels.tolist() == [0, 7, 5, 0]


def test_correct_counts_the_highest_scores() -> None:
    scores = torch.eye(3)[torch.tensor([2, 1, 1, 0])]
    assert TARGETS.on_device("cpu").count_correct(scores) == 2


MARKS = AnyOf(np.array([[1, 0, -1], [0, 0, 0], [1, 1, 0], [-1, 1, 1]], np.int8))


def test_marks_are_indexed_and_counted() -> None:
    assert len(MARKS) == 4 and MARKS[np.array([3, 1])].numpy().tolist() == [[-1, 1, 1], [0, 0, 0]]
    assert MARKS.counts(3).tolist() == [2, 2, 1]
    assert [found.tolist() for found in MARKS.by_class(3)] == [[0, 2], [2, 3], [3]]
    assert [found.tolist() for found in MARKS.strata(3)] == [[0, 1, 2, 3]]
    assert MARKS.label_texts(("a", "b", "c")) == ["a\0?c", "", "a\0b", "?a\0b\0c"]


def test_marks_of_merged_classes_are_combined_and_missing_classes_are_not_judged() -> None:
    """Classes 0 and 2 become class 1 of four; 1 wins over 0, which wins over -1."""
    joined = MARKS.renumber(np.array([1, 3, 1]), 4).numpy()
    assert joined.dtype == np.int8
    assert joined[:, 1].tolist() == [1, 0, 1, 1] and joined[:, 3].tolist() == [0, 0, 1, 1]
    assert (joined[:, [0, 2]] == -1).all()
    both = AnyOf(np.array([[-1, -1], [-1, 0], [0, 1]], np.int8)).renumber(np.array([0, 0]), 1)
    assert both.numpy()[:, 0].tolist() == [-1, 0, 1]


def test_an_image_is_correct_if_all_judged_classes_are() -> None:
    scores = torch.tensor([[2.0, -1, 5], [-1, -1, -1], [1, -1, -1], [3, 0.0, 1]])
    assert (
        MARKS.on_device("cpu").count_correct(scores) == 3
    )  # the third misses its second class; a probability of 0.5 counts as yes
    assert (MARKS.counted, TARGETS.counted) == ("exact", "top1")


def test_soft_targets_are_indexed_joined_and_counted() -> None:
    soft = Soft(np.array([[0.25, 0.75, 0], [0.5, 0.2, 0.3]], np.float32))
    assert len(soft) == 2 and soft[1:].numpy().tolist() == [pytest.approx([0.5, 0.2, 0.3])]
    assert soft.renumber(np.array([0, 2, 0]), 4).numpy().tolist() == [
        [0.25, 0, 0.75, 0],
        pytest.approx([0.8, 0, 0.2, 0]),
    ]
    assert soft.on_device("cpu").count_correct(torch.tensor([[0.0, 2, 1], [1, 2, 0]])) == 1


def test_labels_are_grouped_by_class() -> None:
    assert [found.tolist() for found in TARGETS.by_class(4)] == [[1], [2], [0, 3], []]
    assert TARGETS.counts(4).tolist() == [1, 1, 2, 0] and TARGETS.label_texts(("a", "b", "c")) == ["c", "a", "b", "c"]


def test_the_wrong_kind_of_targets_is_refused() -> None:
    assert labels_of(TARGETS, "--plot").tolist() == [2, 0, 1, 2] and marks_of(MARKS, "x").shape == (4, 3)
    with pytest.raises(UserError, match="--plot needs images with one label each, but these may have several; drop"):
        labels_of(MARKS, "--plot")
    with pytest.raises(UserError, match="needs images that may have several labels, but these have one each; go"):
        marks_of(TARGETS, "--thresholds fit", "go without")
