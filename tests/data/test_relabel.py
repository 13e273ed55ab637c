"""Splits with chosen classes: which images remain, and with which labels."""

from pathlib import Path

import numpy as np
import pytest

from imclass.core.config import Cut
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf
from imclass.data.catalog import OpenData, open_split
from imclass.store.context import Context, open_context
from tests.support.small import tree

CHOICE = ("emu=bird", "dog", "owl=bird")  # of the classes cat, dog, emu and owl


@pytest.fixture
def context() -> Context:
    return open_context()


def labels(dataset: Dataset) -> dict[str, str]:
    """Return the class of each image by name."""
    words = dataset.targets.label_texts(dataset.classes)
    return {dataset.name(i): word for i, word in enumerate(words)}


@pytest.mark.parametrize("split", ["train", "test", "validation", "all"])
def test_a_folder_keeps_the_images_of_the_chosen_classes(split: str, tmp_path: Path, context: Context) -> None:
    """Compare with a loop. No image moves to another split, except that validation takes a share of merged classes."""
    data = str(tree(tmp_path / "pets", classes=("cat", "dog", "emu", "owl")))
    cut = Cut(validation=0.25 if split == "validation" else 0.0, classes=CHOICE)
    chosen = open_split(data, split, context, cut)
    whole = labels(open_split(data, "train" if split == "validation" else split, context))
    new = {"emu": "bird", "dog": "dog", "owl": "bird"}
    expected = {name: new[label] for name, label in whole.items() if label in new}
    assert chosen.classes == ("bird", "dog")
    if split == "validation":
        assert labels(chosen).items() < expected.items()
        assert chosen.targets.counts(2).tolist() == [4, 2]  # a quarter of 16 and of 8
        return
    assert labels(chosen) == expected
    place = {name: i for i, name in enumerate(whole)}
    base = open_split(data, split, context)
    for i in (0, len(chosen) - 1):
        assert np.array_equal(chosen[i], base[place[chosen.name(i)]]) and chosen.ids[i] in base.ids
    lost = len(whole) - len(expected)
    assert chosen.origin.notes == (
        f"{lost} of {len(whole)} images of {split} are left out: --classes does not list 'cat'",
    )


def test_images_in_an_array_are_chosen_as_well(context: Context) -> None:
    whole = open_split("mnist-sample", "test", context)
    chosen = open_split("mnist-sample", "test", context, Cut(classes=("7", "1=one")))
    kept = [i for i, label in enumerate(whole.targets.numpy().tolist()) if label in (7, 1)]
    assert chosen.array is not None and whole.array is not None
    assert np.array_equal(chosen.array, whole.array[kept])
    assert chosen.targets.numpy().tolist() == [0 if whole.targets.numpy()[i] == 7 else 1 for i in kept]


def test_marks_of_merged_classes_are_joined_and_no_image_is_left_out(tmp_path: Path, context: Context) -> None:
    tree(tmp_path, 4, ("x",))
    lines = ["x/000.png,cat;owl,train", "x/001.png,?emu,train", "x/002.png,dog;?owl,train", "x/003.png,cat;emu,train"]
    (tmp_path / "pets.csv").write_text("\n".join(["image,labels,split", *lines]))
    chosen = open_split(str(tmp_path / "pets.csv"), "train", context, Cut(classes=("owl=bird", "dog", "emu=bird")))
    assert isinstance(chosen.targets, AnyOf) and chosen.classes == ("bird", "dog")
    # Of owl and emu: yes and no; no and unknown; unknown and no; no and yes. A "no" outweighs an unknown mark.
    assert chosen.targets.numpy().tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    note = "labels in train are left out, and their images are kept: --classes does not list 'cat'"
    assert note in chosen.origin.notes


def test_the_classes_of_a_model_that_grows_come_first(tmp_path: Path, context: Context) -> None:
    data = str(tree(tmp_path / "pets", 5, ("cat", "dog")))
    grown = open_split(data, "train", context, Cut(old=("owl", "dog")))
    assert grown.classes == ("owl", "dog", "cat") and grown.targets.counts(3).tolist() == [0, 4, 4]
    assert grown.origin.notes == ()
    (tmp_path / "pets.csv").write_text("image,labels\npets/cat/000.png,cat\npets/dog/000.png,dog\n")
    marks = open_split(str(tmp_path / "pets.csv"), "all", context, Cut(old=("owl", "dog"))).targets.numpy()
    assert marks.tolist() == [[-1, 0, 1], [-1, 1, 0]]  # no image is annotated for the owl


def test_files_are_listed_once_for_any_choice(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = OpenData(str(tree(tmp_path / "pets")), context)
    whole = data.take("train")
    monkeypatch.setattr("imclass.data.catalog.open_uncut", None)
    assert len(data.take("train", Cut(classes=("dog", "cat")))) == len(whole)


def test_a_class_that_does_not_exist_is_an_error(tmp_path: Path, context: Context) -> None:
    data = str(tree(tmp_path / "pets"))
    with pytest.raises(UserError, match="has no class 'dug'; did you mean 'dog'"):
        open_split(data, "train", context, Cut(classes=("dug", "cat")))
