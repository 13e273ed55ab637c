"""CUB-200-2011 in its layout: the published split and classes, and lists that do not fit each other."""

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest

from imclass.core.errors import UserError
from imclass.data.catalog import open_split, open_splits
from imclass.data.sets.birds import is_birds
from imclass.store.context import Context
from imclass.store.store import Store
from tests.support.official_trees import birds_tree, write_photo
from tests.support.small import tree

CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "store", offline=True))


@pytest.mark.parametrize("given", ["CUB_200_2011", ""])
def test_the_published_split_is_used(tmp_path: Path, context: Context, given: str) -> None:
    birds_tree(tmp_path / "birds")
    splits = open_splits(str(tmp_path / "birds" / given), context)
    assert tuple(splits) == ("train", "test") and [len(splits[name]) for name in splits] == [4, 4]
    train = splits["train"]
    assert train.classes == CLASSES and train.targets.numpy().tolist() == [0, 0, 1, 1]
    assert train.name(1) == f"images/{CLASSES[0]}/Black_footed_Albatross_0003_87.jpg"
    assert train[1].shape == (24, 24, 3)  # it is grey
    assert splits["test"].targets.numpy().tolist() == [0, 0, 1, 1]
    assert train.origin.rule == "published" and train.origin.notes == ()


def test_the_store_may_hold_it_by_name(tmp_path: Path, context: Context) -> None:
    with pytest.raises(UserError, match=r"cub-200-2011 is not in the store; download it from https://www\.vision"):
        open_split("cub-200-2011", "train", context)
    context.store.folder.mkdir()
    (context.store.folder / "cub-200-2011").symlink_to(birds_tree(tmp_path / "birds"))
    assert open_split("cub-200-2011", "train", context).origin.name == "cub-200-2011"


def test_other_trees_are_not_taken_for_it(tmp_path: Path, context: Context) -> None:
    assert not is_birds(tree(tmp_path / "pets"))
    folder = birds_tree(tmp_path / "birds")
    assert is_birds(folder) and is_birds(folder.parent)
    plain = open_split(str(folder / "images"), "train", context)  # a folder of images with the same classes
    assert plain.classes == CLASSES and not plain.origin.has_splits


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path, context: Context) -> None:
    folder = birds_tree(tmp_path)
    for path in folder.glob("*.txt"):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes().replace(b"\n", b"\r\n"))
    assert open_split(str(folder), "test", context).targets.numpy().tolist() == [0, 0, 1, 1]


def test_names_may_contain_spaces_and_extra_images_are_noted(tmp_path: Path, context: Context) -> None:
    folder = birds_tree(tmp_path)
    old = f"{CLASSES[1]}/Laysan_Albatross_0005_85.jpg"
    (folder / "images" / old).rename(folder / "images" / CLASSES[1] / "a b.jpg")
    change(folder, "images", lambda lines: [line.replace(old, f"{CLASSES[1]}/a b.jpg") for line in lines])
    write_photo(folder / "images" / CLASSES[0] / "new.jpg", 0)
    train = open_split(str(folder), "train", context)
    assert train.name(2) == f"images/{CLASSES[1]}/a b.jpg"
    assert train.origin.notes == (f"ignored 1 images that are in no list: 'images/{CLASSES[0]}/new.jpg'",)


def change(folder: Path, name: str, edit: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a list."""
    path = folder / f"{name}.txt"
    path.write_text("\n".join(edit(path.read_text().splitlines())))


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no classes": (
        lambda f: (f / "classes.txt").unlink(),
        r"classes\.txt does not exist; unpack CUB_200_2011\.tgz again",
    ),
    "one class": (lambda f: change(f, "classes", lambda x: x[:1]), r"classes\.txt: a classifier needs at least two"),
    "class twice": (
        lambda f: change(f, "classes", lambda x: [x[0], x[1].replace(CLASSES[1], CLASSES[0])]),
        r"classes\.txt: class '001\.Black_footed_Albatross' occurs twice",
    ),
    "image": (
        lambda f: next((f / "images" / CLASSES[0]).glob("*_0003_87.jpg")).unlink(),
        r"images is incomplete: 1 of the 4 images in .*images\.txt are missing, such as .*0003_87\.jpg; unpack CUB",
    ),
    "number twice": (
        lambda f: change(f, "images", lambda x: [*x, x[2]]),
        r"images\.txt, line 9: 3 is already in .*images\.txt, line 3; keep one",
    ),
    "file twice": (
        lambda f: change(f, "images", lambda x: [*x, "9" + x[2][1:]]),
        r"images\.txt, line 9: 001.*0003_87\.jpg is already in .*images\.txt, line 3; remove one",
    ),
    "two labels": (
        lambda f: change(f, "image_class_labels", lambda x: [*x, "2 2"]),
        r"labels\.txt, line 9: 2 is already in .*labels\.txt, line 2; keep one",
    ),
    "no label": (
        lambda f: change(f, "image_class_labels", lambda x: x[:-1]),
        r"labels\.txt has no line for 8, which is in .*images\.txt, line 8; replace both",
    ),
    "label": (
        lambda f: change(f, "image_class_labels", lambda x: ["1 3", *x[1:]]),
        r"labels\.txt, line 1: '3' must be between 1 and 2; replace the file with that in CUB_200_2011\.tgz",
    ),
    "split": (
        lambda f: change(f, "train_test_split", lambda x: [*x[:-1], "8 test"]),
        r"split\.txt, line 8: 'test' must be between 0 and 1",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_damaged_tree_is_refused_with_the_fix(tmp_path: Path, context: Context, problem: str) -> None:
    breaks, why = PROBLEMS[problem]
    folder = birds_tree(tmp_path)
    breaks(folder)
    with pytest.raises(UserError, match=why):
        open_split(str(folder), "train", context)
