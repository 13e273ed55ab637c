"""Flowers-102 in its layout: the published sets, the labels, and files that do not fit each other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from imclass.core.classes import check_classes
from imclass.core.errors import UserError
from imclass.data.catalog import open_split, open_splits
from imclass.data.sets.flowers102 import FLOWERS_CLASSES, is_flowers
from imclass.store.context import Context
from imclass.store.store import Store
from tests.support.official_trees import flowers_tree, write_photo
from tests.support.small import tree


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "store", offline=True))


def test_the_sets_are_the_splits(tmp_path: Path, context: Context) -> None:
    splits = open_splits(str(flowers_tree(tmp_path / "flowers")), context)
    numbers = {name: [int(splits[name].name(i)[-9:-4]) for i in range(len(splits[name]))] for name in splits}
    assert numbers == {"train": [1, 2, 12], "validation": [3, 4, 5], "test": [6, 7, 8, 9, 10, 11]}
    train = splits["train"]
    assert [train.classes[k] for k in train.targets.numpy()] == ["pink primrose", "passion flower", "blackberry lily"]
    assert train.splits == tuple(numbers) and train.origin.rule == "published" and train.origin.notes == ()
    assert splits["validation"][2].shape == (24, 24, 3)  # it is grey


def test_the_names_are_102_and_in_the_order_of_the_labels() -> None:
    assert len(FLOWERS_CLASSES) == 102
    check_classes(FLOWERS_CLASSES, "the names")
    known = {1: "pink primrose", 21: "fire lily", 45: "bolero deep blue", 73: "water lily", 77: "passion flower"}
    known |= {54: "sunflower", 93: "ball moss", 100: "blanket flower", 102: "blackberry lily"}
    assert {n: FLOWERS_CLASSES[n - 1] for n in known} == known


def test_train_and_validation_may_be_joined(tmp_path: Path, context: Context) -> None:
    with pytest.raises(UserError, match=r"flowers102 is not in the store; download it from https://www\.robots"):
        open_split("flowers102-trainval", "train", context)
    context.store.folder.mkdir()
    (context.store.folder / "flowers102").symlink_to(flowers_tree(tmp_path / "flowers"))
    joined = open_splits("flowers102-trainval", context)
    assert tuple(joined) == ("train", "test") and [len(joined[name]) for name in joined] == [6, 6]
    plain = open_split("flowers102", "train", context)
    assert plain.origin.path != joined["train"].origin.path
    assert (plain.origin.name, joined["train"].origin.name) == ("flowers102", "flowers102-trainval")


def test_other_trees_are_not_taken_for_it(tmp_path: Path) -> None:
    assert not is_flowers(tree(tmp_path / "pets"))
    assert is_flowers(flowers_tree(tmp_path / "flowers"))


def with_sets(root: Path, **changed: list[int]) -> None:
    """Write other sets."""
    sets = {"trnid": [1, 2], "valid": [3], "tstid": [4], **changed}
    savemat(root / "setid.mat", {name: np.array([ids]) for name, ids in sets.items()})


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "image": (
        lambda root: (root / "jpg" / "image_00012.jpg").unlink(),
        r"1 of the 3 images in .*setid\.mat are missing, such as .*image_00012\.jpg; unpack 102flowers\.tgz again",
    ),
    "label": (
        lambda root: savemat(root / "imagelabels.mat", {"labels": np.array([[1, 103]])}),
        r"imagelabels\.mat: image 2 has the label 103, but the labels are 1 to 102; replace",
    ),
    "no labels": (
        lambda root: savemat(root / "imagelabels.mat", {"label": np.array([[1, 2]])}),
        r"imagelabels\.mat has no variable 'labels'; replace it with that in https",
    ),
    "twice": (lambda root: with_sets(root, trnid=[1, 1]), r"setid\.mat: image 1 is in trnid and was already in trnid"),
    "two sets": (lambda root: with_sets(root, valid=[2]), r"setid\.mat: image 2 is in valid and was already in trnid"),
    "number": (
        lambda root: with_sets(root, tstid=[13]),
        r"setid\.mat: tstid contains image 13, but imagelabels\.mat has labels for 1 to 12; use both",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_damaged_tree_is_refused_with_the_fix(tmp_path: Path, context: Context, problem: str) -> None:
    breaks, why = PROBLEMS[problem]
    root = flowers_tree(tmp_path / "flowers")
    breaks(root)
    with pytest.raises(UserError, match=why):
        open_split(str(root), "train", context)


def test_an_image_in_no_set_is_noted(tmp_path: Path, context: Context) -> None:
    root = flowers_tree(tmp_path / "flowers")
    write_photo(root / "jpg" / "image_00013.jpg", 0)
    notes = open_split(str(root), "test", context).origin.notes
    assert notes == ("ignored 1 images that are in no list: 'jpg/image_00013.jpg'",)
