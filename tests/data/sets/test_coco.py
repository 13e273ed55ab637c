"""COCO in its layout: classes, crowds, images without objects, both editions, and damaged files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf
from imclass.data.catalog import open_split, open_splits
from imclass.data.sets.coco import CATEGORIES, COCO_CLASSES, EDITIONS
from imclass.store.context import Context
from imclass.store.store import Store
from tests.support.command import json_output
from tests.support.official_trees import coco_tree, write_photo
from tests.support.small import tree


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "store", offline=True))


def classes_of(dataset: Any) -> dict[str, set[str]]:
    """Return the classes of each image."""
    assert isinstance(dataset.targets, AnyOf)
    rows = dataset.targets.numpy()
    assert set(np.unique(rows)) <= {0, 1}
    return {dataset.name(i): {dataset.classes[k] for k in np.flatnonzero(row)} for i, row in enumerate(rows)}


def test_the_classes_are_in_the_order_of_their_numbers() -> None:
    assert len(set(COCO_CLASSES)) == 80 and (min(CATEGORIES), max(CATEGORIES)) == (1, 90)
    known = {1: "person", 13: "stop sign", 18: "dog", 44: "bottle", 62: "chair", 67: "dining table", 90: "toothbrush"}
    assert {n: CATEGORIES[n] for n in known} == known


@pytest.mark.parametrize(("year", "images"), [("2017", ""), ("2014", ""), ("2017", "images")])
def test_an_image_has_the_classes_of_all_its_objects(tmp_path: Path, context: Context, year: str, images: str) -> None:
    root = coco_tree(tmp_path / "coco", year, images)
    splits = open_splits(str(root), context)
    assert tuple(splits) == ("train", "test") == splits["train"].splits
    stem = f"{images}/train{year}/".lstrip("/") + ("COCO_train2014_" if year == "2014" else "")
    assert classes_of(splits["train"]) == {
        f"{stem}000000000009.jpg": {"person", "dog"},  # listed second, and two persons
        f"{stem}000000000025.jpg": {"toothbrush"},  # only a crowd
        f"{stem}000000000030.jpg": set(),  # no object
        f"{stem}000000000034.jpg": {"stop sign"},  # grey
    }
    assert list(classes_of(splits["test"]).values()) == [{"person"}, {"dog"}]
    assert splits["train"].classes == COCO_CLASSES
    assert [splits["train"][i].shape for i in (0, 3)] == [(24, 24, 3)] * 2
    assert splits["train"].origin.notes == ("1 of 4 images have no label",)
    assert splits["train"].origin.path == str(root / "annotations" / f"instances_train{year}.json")


def test_two_editions_in_one_folder_are_chosen_by_name(tmp_path: Path, context: Context) -> None:
    root = coco_tree(coco_tree(tmp_path / "coco", "2014"), "2017")
    with pytest.raises(UserError, match=r"contains coco2014 and coco2017; make .*store/coco2017 a link to it, and"):
        open_split(str(root), "train", context)
    with pytest.raises(UserError, match=r"coco2017 is not in the store; download it from https"):
        open_split("coco2017", "train", context)
    context.store.folder.mkdir()
    for name in ("coco2014", "coco2017"):
        (context.store.folder / name).symlink_to(root)
    assert open_split("coco2014", "test", context).name(0) == "val2014/COCO_val2014_000000000139.jpg"
    test = open_split("coco2017", "test", context)
    assert test.name(0) == "val2017/000000000139.jpg" and test.origin.name == "coco2017"


def test_other_trees_are_not_taken_for_it(tmp_path: Path) -> None:
    assert not any(edition.is_in(tree(tmp_path / "pets")) for edition in EDITIONS)
    root = coco_tree(tmp_path / "coco")
    assert [edition.name for edition in EDITIONS if edition.is_in(root)] == ["coco2017"]


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of the training annotations."""
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (
        lambda root: (root / "annotations" / "instances_train2017.json").unlink(),
        r"instances_train2017\.json does not exist; unpack annotations_trainval2017\.zip in .*coco",
    ),
    "image": (
        lambda root: (root / "train2017" / "000000000030.jpg").unlink(),
        r"train2017 is incomplete: 1 of the 4 images in .*json are missing, such as .*30\.jpg; unpack train2017\.zip",
    ),
    "no images": (
        lambda root: (root / "train2017").rename(root / "train"),
        r"train2017 does not exist; unpack train2017\.zip there",
    ),
    "id twice": (
        lambda root: edit(root, lambda c: c["images"].append({**c["images"][0], "file_name": "x.jpg"})),
        r"the id 30 of x\.jpg is also that of 000000000030\.jpg; correct one",
    ),
    "name twice": (
        lambda root: edit(root, lambda c: c["images"].append({**c["images"][0], "id": 7})),
        r"000000000030\.jpg is listed with the ids 30 and 7; remove one",
    ),
    "none": (lambda root: edit(root, lambda c: c.update(images=[])), "lists no images"),
    "unknown image": (
        lambda root: edit(root, lambda c: c["annotations"][1].update(image_id=99)),
        r"json: annotations\[1\] has the image_id 99, which is not listed",
    ),
    "unknown class": (
        lambda root: edit(root, lambda c: c["annotations"][2].update(category_id=12)),
        r"json: annotations\[2\] has the category_id 12, which is not listed",
    ),
    "no class": (
        lambda root: edit(root, lambda c: c["annotations"][0].pop("category_id")),
        r"the record \{segmentation: .*\} has no whole number 'category_id'; replace",
    ),
    "text": (
        lambda root: edit(root, lambda c: c["images"][0].update(id="30")),
        r"the record \{license: 1, .*\} has no whole number 'id'",
    ),
    "huge": (
        lambda root: edit(root, lambda c: c["images"][0].update(id=1 << 64)),
        r"has no whole number 'id'",
    ),
    "number": (lambda root: edit(root, lambda c: c["images"][0].update(file_name=3)), "has no text 'file_name'"),
    "other classes": (
        lambda root: edit(root, lambda c: c["categories"][3].update(name="motorbike")),
        r"category 4 is 'motorbike' and not 'motorcycle', so the classes are not the 80 of COCO; list images",
    ),
    "more classes": (
        lambda root: edit(root, lambda c: c["categories"].append({"id": 91, "name": "hair brush"})),
        r"category 91 is 'hair brush' and not None",
    ),
    "no JSON": (
        lambda root: (root / "annotations" / "instances_train2017.json").write_text("{"),
        r"instances_train2017\.json is not the expected JSON file",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_damaged_tree_is_refused_with_the_fix(tmp_path: Path, context: Context, problem: str) -> None:
    breaks, why = PROBLEMS[problem]
    root = coco_tree(tmp_path / "coco")
    breaks(root)
    with pytest.raises(UserError, match=why):
        open_split(str(root), "train", context)
    assert len(open_split(str(root), "test", context)) == 2  # the other split does not need the damaged file


def test_an_image_in_no_list_is_noted(tmp_path: Path, context: Context) -> None:
    root = coco_tree(tmp_path / "coco")
    write_photo(root / "val2017" / "other photo.jpg", 0)
    notes = open_split(str(root), "test", context).origin.notes
    assert notes == ("ignored 1 images that are in no list: 'val2017/other photo.jpg'",)


def test_the_catalogue_lists_and_checks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    record = json_output(capsys, "data", "check", str(coco_tree(tmp_path / "coco")))
    assert record["images"] == {"train": 4, "test": 2} and record["classes"] == list(COCO_CLASSES)
