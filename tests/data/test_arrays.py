"""Arrays as a data set. Arrays that do not fit together are refused when it is made."""

from typing import Any

import numpy as np
import pytest

from imclass.core.contracts import Dataset, Origin
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf, Targets
from imclass.data.arrays import ArrayDataset, check_arrays

PIXELS = np.zeros((4, 5, 6, 3), np.uint8)
LABELS = OneOf(np.array([0, 1, 0, 1]))


def make_dataset(
    pixels: Any = PIXELS, targets: Targets = LABELS, classes: tuple[str, ...] = ("a", "b")
) -> ArrayDataset:
    return ArrayDataset(pixels, targets, classes, ("test",), "test", Origin("mine", "memory", "published"))


def test_arrays_that_fit_are_a_data_set() -> None:
    for targets in (LABELS, AnyOf(np.array([[0, 1], [-1, 0], [1, 1], [0, 0]], np.int8))):
        data = make_dataset(targets=targets)
        assert isinstance(data, Dataset) and len(data) == 4 and data[3].shape == (5, 6, 3)
        assert data.name(3) == "test/00003" and len(data.contents()) == len(set(data.ids.tolist())) == 4
    assert len(make_dataset(PIXELS[:0], LABELS[:0])) == 0


@pytest.mark.parametrize(
    ("pixels", "targets", "words"),
    [
        (PIXELS.astype(np.float32), LABELS, "the shape 4 x 5 x 6 x 3 and the type float32; it must have the shape"),
        (PIXELS.transpose(0, 3, 1, 2), LABELS, "the array has the shape 4 x 3 x 5 x 6 and the type uint8"),
        (PIXELS[..., 0], LABELS, "the array has the shape 4 x 5 x 6 and the type uint8"),
        (PIXELS[:, :0], LABELS, "the array has the shape 4 x 0 x 6 x 3 and the type uint8"),
        (PIXELS.tolist(), LABELS, "the array has the type list; give a NumPy array"),
        (PIXELS[:3], LABELS, "there are 3 images and 4 targets; give one target for each image"),
        (
            PIXELS,
            OneOf(np.array([0, 1, 2, 1])),
            "label 2 is out of range for 2 classes; labels must be between 0 and 1",
        ),
        (PIXELS, OneOf(np.array([0, 1, -1, 1])), "label -1 is out of range for 2 classes"),
        (PIXELS, AnyOf(np.zeros((4, 3), np.int8)), "the targets have 3 columns for 2 classes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_one_message(pixels: Any, targets: Targets, words: str) -> None:
    with pytest.raises(UserError) as error:
        check_arrays(pixels, targets, ("a", "b"))
    assert words in str(error.value)


def test_a_data_set_is_checked_when_it_is_made() -> None:
    with pytest.raises(UserError, match="there are 3 images and 4 targets"):
        make_dataset(PIXELS[:3])
