"""Checks of a run's images, made before it begins and with few images decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from imclass.core.contracts import Image, Origin
from imclass.core.errors import BadImage, UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.catalog import open_split
from imclass.data.readable import check_learnable, check_scorable
from imclass.data.sets.folder import FolderDataset
from imclass.store.context import open_context
from imclass.store.digests import Digests


@dataclass(frozen=True)
class Planted(FolderDataset):
    """A folder in which only some files can be read. It records the files that are decoded."""

    good: frozenset[str] = frozenset()
    seen: list[str] = None  # type: ignore[assignment]

    def __getitem__(self, i: int) -> Image:
        self.seen.append(self.files[i])
        if self.files[i] not in self.good:
            raise BadImage("empty", self.files[i], "the file has 0 bytes")
        return np.zeros((2, 2, 3), np.uint8)


def plant(files: Sequence[str], good: Sequence[str], split: str = "train", rule: str = "hash 80/20") -> Planted:
    classes = tuple(sorted({file.split("/")[0] for file in files}))
    labels = np.array([classes.index(file.split("/")[0]) for file in files], np.int64)
    splits = ("train", "test")
    origin = Origin("pets", "/pets", rule, has_splits=rule == "folders")
    facts = (OneOf(labels), classes, splits, split, origin, Digests(Path("nowhere")))
    return Planted(Path("/pets"), Path("/pets"), tuple(files), *facts, good=frozenset(good), seen=[])


FILES = [f"{name}/{i}.png" for i in range(3) for name in ("cat", "dog")]


def test_one_readable_image_of_each_class_and_split_is_enough() -> None:
    training, held_out = plant(FILES, ["cat/1.png", "dog/0.png", "dog/2.png"]), plant(FILES, FILES, "test")
    check_learnable(training)
    check_scorable([held_out])
    assert training.seen == ["cat/0.png", "cat/1.png", "dog/0.png"] and held_out.seen == ["cat/0.png"]


def test_a_class_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UserError) as caught:
        check_learnable(plant(FILES, ["cat/1.png"]))
    message = str(caught.value)
    assert "class 'dog' of /pets cannot be learned: none of its 3 images can be read" in message
    assert "the first: dog/0.png: the file has 0 bytes (empty)" in message


def test_a_split_that_cannot_be_scored_is_named() -> None:
    with pytest.raises(UserError, match="split 'test' of /pets cannot be scored: none of its 6 images can be read"):
        check_scorable([plant(FILES, FILES, "validation"), plant(FILES, [], "test")])
    with pytest.raises(UserError, match="split 'test' of /pets cannot be scored: it has no images"):
        check_scorable([plant([], [], "test")])


def test_a_single_class_is_refused() -> None:
    with pytest.raises(
        UserError, match="/pets: a classifier needs at least two classes, but there is only 'cat'; make"
    ):
        check_learnable(plant(FILES[::2], FILES))


def test_for_a_folder_one_level_too_high_the_message_names_the_right_one() -> None:
    deeper = [f"photos/{file}" for file in FILES]
    with pytest.raises(UserError, match=r"only 'photos', with the folders 'cat', 'dog'; .* give /pets/photos"):
        check_learnable(plant(deeper, deeper))
    with pytest.raises(UserError, match="only 'photos'; make one folder per class"):
        check_learnable(plant(deeper, deeper, rule="folders"))


def test_a_data_set_in_memory_is_not_decoded() -> None:
    training = open_split("mnist-sample", "train", open_context())
    assert isinstance(training, ArrayDataset)
    check_learnable(training)
    check_scorable([training])
    with pytest.raises(UserError, match="it has no images"):
        check_scorable([replace(training, array=training.array[:0], targets=training.targets[:0])])


def test_a_split_without_any_label_cannot_be_scored() -> None:
    whole = plant(FILES, FILES, "test")
    marks = np.zeros((len(FILES), 2), np.int8)
    with pytest.raises(UserError, match="split 'test' of /pets cannot be scored: none of its images has a label; add"):
        check_scorable([replace(whole, targets=AnyOf(marks))])
    marks[-1, 0] = 1
    check_scorable([replace(whole, targets=AnyOf(marks))])


def test_each_class_of_multi_label_data_needs_a_readable_image() -> None:
    marks = np.array([[1, 0], [0, 1]] * 3, np.int8)
    check_learnable(replace(plant(FILES, FILES[:2]), targets=AnyOf(marks)))
    with pytest.raises(UserError, match="class 'dog' of /pets cannot be learned"):
        check_learnable(replace(plant(FILES, FILES[:1]), targets=AnyOf(marks)))
    marks[:, 1] = 0  # nothing to be learned of dogs, which the data says in a note
    check_learnable(replace(plant(FILES, FILES[:1]), targets=AnyOf(marks)))
