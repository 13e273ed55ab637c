"""Stanford Dogs in its layout: the published split and classes, and lists that do not fit each other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from imclass.core.classes import join_classes
from imclass.core.errors import UserError
from imclass.data.catalog import open_split, open_splits
from imclass.data.sets.dogs import is_dogs
from imclass.store.context import Context
from imclass.store.store import Store
from tests.support.official_trees import DOG_BREEDS, dogs_tree, write_dog_list, write_photo
from tests.support.small import tree


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "store", offline=True))


@pytest.mark.parametrize("lists", ["", "lists"])
def test_the_published_split_is_used(tmp_path: Path, context: Context, lists: str) -> None:
    splits = open_splits(str(dogs_tree(tmp_path / "dogs", lists)), context)
    assert tuple(splits) == ("train", "test") and [len(splits[name]) for name in splits] == [9, 3]
    train, test = splits["train"], splits["test"]
    assert train.classes == test.classes == DOG_BREEDS
    assert train.targets.numpy().tolist() == [0] * 3 + [1] * 3 + [2] * 3 and test.targets.numpy().tolist() == [0, 1, 2]
    assert test.name(2) == "Images/n02106662-German_shepherd/n02106662_203.jpg"
    assert test[2].shape == (24, 24, 3)  # it is grey
    assert train.origin.rule == "published" and train.origin.notes == ()


def test_the_classes_are_joined_with_those_of_imagenet() -> None:
    imagenet = ("n01440764 tench", "n02106662 German shepherd", "n02085620 Chihuahua", "n02085782 Japanese spaniel")
    assert join_classes(DOG_BREEDS, imagenet, {}).tolist() == [2, 3, 1]


def test_the_store_may_hold_it_by_name(tmp_path: Path, context: Context) -> None:
    with pytest.raises(UserError, match=r"stanford-dogs is not in the store; download it from http://vision\.stanford"):
        open_split("stanford-dogs", "train", context)
    context.store.folder.mkdir()
    (context.store.folder / "stanford-dogs").symlink_to(dogs_tree(tmp_path / "dogs"))
    assert open_split("stanford-dogs", "train", context).origin.name == "stanford-dogs"


def test_other_trees_are_not_taken_for_it(tmp_path: Path) -> None:
    assert not is_dogs(tree(tmp_path / "pets"))
    root = dogs_tree(tmp_path / "dogs")
    assert is_dogs(root)
    (root / "test_list.mat").unlink()
    assert not is_dogs(root)


FILES = [f"{DOG_BREEDS[0]}/n02085620_{n}.jpg" for n in range(2)]


def rewrite(root: Path, files: list[str], labels: list[int]) -> None:
    """Write another training list."""
    write_dog_list(root / "train_list.mat", files, labels)


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "image": (
        lambda root: (root / "Images" / FILES[0]).unlink(),
        r"Images is incomplete: 1 of the 9 images in .*train_list\.mat are missing, such as .*_0\.jpg; unpack images",
    ),
    "twice": (
        lambda root: rewrite(root, [*FILES, FILES[0]], [1, 1, 1]),
        r"train_list\.mat: n02085620-Chihuahua/n02085620_0\.jpg is listed twice; replace it with that in lists\.tar",
    ),
    "two splits": (
        lambda root: rewrite(root, [f"{DOG_BREEDS[0]}/n02085620_3.jpg"], [1]),
        r"n02085620_3\.jpg is in .*train_list\.mat and in .*test_list\.mat; use both files from one",
    ),
    "number of labels": (lambda root: rewrite(root, FILES, [1]), r"train_list\.mat has 2 files and 1 labels; replace"),
    "two labels": (
        lambda root: rewrite(root, FILES, [1, 2]),
        r"n02085620_1\.jpg has the label 2, but n02085620-Chihuahua has the label 1; use both",
    ),
    "two breeds": (
        lambda root: rewrite(root, [FILES[0], f"{DOG_BREEDS[1]}/n02085782_100.jpg"], [1, 1]),
        r"n02085782_100\.jpg has the label 1, but label 1 is that of n02085620-Chihuahua; use both",
    ),
    "no list": (
        lambda root: savemat(root / "train_list.mat", {"labels": np.ones((2, 1))}),
        r"train_list\.mat has no variable 'file_list'; replace it with that in lists\.tar",
    ),
    "no text": (
        lambda root: savemat(root / "train_list.mat", {"labels": np.ones((2, 1)), "file_list": np.ones((2, 1))}),
        r"train_list\.mat: 'file_list' has a cell without a text",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_damaged_tree_is_refused_with_the_fix(tmp_path: Path, context: Context, problem: str) -> None:
    breaks, why = PROBLEMS[problem]
    root = dogs_tree(tmp_path / "dogs")
    breaks(root)
    with pytest.raises(UserError, match=why):
        open_split(str(root), "train", context)


def test_an_image_in_no_list_is_noted(tmp_path: Path, context: Context) -> None:
    root = dogs_tree(tmp_path / "dogs")
    write_photo(root / "Images" / DOG_BREEDS[0] / "my dog.jpg", 0)
    notes = open_split(str(root), "train", context).origin.notes
    assert notes == (f"ignored 1 images that are in no list: 'Images/{DOG_BREEDS[0]}/my dog.jpg'",)
