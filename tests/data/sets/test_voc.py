"""PASCAL VOC in the devkit's layout: the rule for difficult objects, lists and XML files, and damaged trees."""

import codecs
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import imclass
from imclass.app.cli.main import main
from imclass.core.config import Fitting
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf
from imclass.data.catalog import dataset_table, open_split, open_splits
from imclass.data.sets.voc import is_voc
from imclass.evaluation.results import read_scores
from imclass.pipelines.parts.dense_sift import DenseSift
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.parts.words import VisualWords
from imclass.store.context import Context, open_context
from imclass.store.store import Store
from imclass.training.events import LegEnd
from tests.support.command import json_output, text
from tests.support.official_trees import VOC_CLASSES, VOC_OBJECTS, voc_tree, write_annotation, write_photo
from tests.support.small import tree

EXPECTED: dict[str, list[tuple[set[str], set[str]]]] = {  # present and unjudged classes
    "train": [({"dog", "person"}, set()), (set(), {"dog"}), ({"cat"}, {"person"}), (set(), set())],
    "validation": [({"dog"}, set()), ({"train"}, set())],
    "test": [({"person"}, set()), ({"dog"}, {"train"})],
}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "store", offline=True))


def marks_of(dataset: Any) -> list[tuple[set[str], set[str]]]:
    """Return the present and the unjudged classes of each image."""
    assert isinstance(dataset.targets, AnyOf)
    rows = dataset.targets.numpy()
    present, unjudged = ([{dataset.classes[k] for k in np.flatnonzero(row == m)} for row in rows] for m in (1, -1))
    return list(zip(present, unjudged, strict=True))


@pytest.mark.parametrize("given", ["VOCdevkit/VOC2007", "VOCdevkit", ""])
def test_the_year_the_devkit_and_its_parent_are_the_same_data(tmp_path: Path, context: Context, given: str) -> None:
    voc_tree(tmp_path / "data")
    splits = open_splits(str(tmp_path / "data" / given), context)
    assert {split: marks_of(splits[split]) for split in splits} == EXPECTED
    train = splits["train"]
    assert train.classes == tuple(VOC_CLASSES) and train.splits == ("train", "validation", "test")
    assert [train.name(i) for i in range(2)] == ["JPEGImages/000001.jpg", "JPEGImages/000002.jpg"]
    assert train[0].shape == train[3].shape == (24, 24, 3)  # the last is grey
    assert train.origin.rule == "published" and train.origin.has_splits
    assert train.origin.notes == (
        "2 of 4 images have no label",
        '2 labels are of "difficult" objects only and count neither as right nor as wrong',
    )


def test_train_and_validation_may_be_joined(tmp_path: Path, context: Context) -> None:
    context.store.folder.mkdir()
    for name in ("voc2007", "voc2007-trainval"):
        with pytest.raises(UserError, match=r"voc2007 is not in the store; download it from http.* make .*voc2007 a"):
            open_split(name, "train", context)
    (context.store.folder / "voc2007").symlink_to(voc_tree(tmp_path / "data").parent)
    joined = open_splits("voc2007-trainval", context)
    assert marks_of(joined["train"]) == EXPECTED["train"] + EXPECTED["validation"]
    assert tuple(joined) == ("train", "test") and marks_of(joined["test"]) == EXPECTED["test"]
    plain = open_split("voc2007", "train", context)
    assert (plain.origin.name, joined["train"].origin.name) == ("voc2007", "voc2007-trainval")
    assert plain.origin.path != joined["train"].origin.path  # so that a model's data is not taken for the other


def test_of_two_years_one_must_be_named(tmp_path: Path, context: Context) -> None:
    devkit = voc_tree(tmp_path / "data").parent
    objects = {**VOC_OBJECTS, "000001": ("bird",)}
    voc_tree(tmp_path / "data", "VOC2012", objects)
    with pytest.raises(UserError, match=r"contains VOC2007 and VOC2012; give the folder of one year, such as .*07"):
        open_split(str(devkit), "train", context)
    context.store.folder.mkdir()
    for name in ("voc2007", "voc2012"):
        (context.store.folder / name).symlink_to(devkit)
    assert marks_of(open_split("voc2012", "train", context))[0] == ({"bird"}, set())
    assert marks_of(open_split("voc2007", "train", context)) == EXPECTED["train"]
    shutil.rmtree(devkit / "VOC2012")
    with pytest.raises(UserError, match=r"voc2012 has no folder VOC2012 with ImageSets/Main and JPEGImages; unpack"):
        open_split("voc2012", "train", context)


def test_without_lists_of_classes_the_xml_files_state_the_same(tmp_path: Path, context: Context) -> None:
    year = voc_tree(tmp_path)
    for name in ("train", "val", "test"):
        for label in VOC_CLASSES:
            (year / "ImageSets" / "Main" / f"{label}_{name}.txt").unlink()
    splits = open_splits(str(year), context)
    assert {split: marks_of(splits[split]) for split in splits} == EXPECTED


def test_the_lists_decide_and_a_note_counts_where_xml_files_differ(tmp_path: Path, context: Context) -> None:
    year = voc_tree(tmp_path)
    write_annotation(year / "Annotations" / "000002.xml", ("dog", "sofa"))
    (year / "Annotations" / "000003.xml").unlink()
    train = open_split(str(year), "train", context)
    assert marks_of(train) == EXPECTED["train"]
    assert train.origin.notes[0] == (
        "2 labels differ between ImageSets/Main and Annotations, such as 'dog' of 000002; those in ImageSets/Main are "
        "used"
    )
    shutil.rmtree(year / "Annotations")
    assert marks_of(open_split(str(year), "train", context)) == EXPECTED["train"]


def test_a_test_list_without_annotations_is_no_split(tmp_path: Path, context: Context) -> None:
    year = voc_tree(tmp_path)
    for path in (year / "ImageSets" / "Main").glob("*_test.txt"):
        path.unlink()
    assert "test" in open_splits(str(year), context)  # of the XML files
    for image in ("000007", "000008"):
        (year / "Annotations" / f"{image}.xml").unlink()
    splits = open_splits(str(year), context)
    assert tuple(splits) == ("train", "validation") == splits["train"].splits
    assert splits["train"].origin.notes[0].startswith("there is no split test: the 2 images in test.txt have no annot")


def test_line_ends_marks_and_other_images_do_not_matter(tmp_path: Path, context: Context) -> None:
    year = voc_tree(tmp_path)
    for path in (year / "ImageSets" / "Main").glob("*train.txt"):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes().replace(b"\n", b" \r\n") + b"\r\n")
    write_photo(year / "JPEGImages" / "2009 001.jpg", 0)  # for another task
    (year / "JPEGImages" / "Thumbs.db").touch()
    train = open_split(str(year), "train", context)
    assert marks_of(train) == EXPECTED["train"]
    assert train.origin.notes[-2:] == (
        "ignored 1 images that are in no list: 'JPEGImages/2009 001.jpg'",
        "ignored 1 hidden files or folders: 'JPEGImages/Thumbs.db'",
    )


def lines_of(year: Path, name: str, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a list."""
    path = year / "ImageSets" / "Main" / f"{name}.txt"
    path.write_text("\n".join(change(path.read_text().splitlines())))


def remove(*paths: Path) -> None:
    """Remove files."""
    for path in paths:
        path.unlink()


def lock_file(path: Path) -> None:
    """Make a file unreadable, even for root."""
    path.unlink()
    path.mkdir()


BOMB = '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><annotation>&b;</annotation>'
PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no train": (lambda y: (y / "ImageSets/Main/train.txt").unlink(), r"Main/train\.txt does not exist; unpack the ar"),
    "empty": (lambda y: lines_of(y, "train", lambda x: []), r"train\.txt is empty; replace it"),
    "twice": (
        lambda y: lines_of(y, "train", lambda x: [*x, x[0]]),
        r"train\.txt, line 5: 000001 is already in",
    ),
    "two splits": (
        lambda y: lines_of(y, "val", lambda x: [*x, "000001"]),
        r"val\.txt, line 3: 000001 is also in .*train\.txt, line 1; remove one",
    ),
    "two cells": (lambda y: lines_of(y, "train", lambda x: ["000001 1"]), r"line 1: '000001 1' is not one name; repl"),
    "image": (
        lambda y: (y / "JPEGImages" / "000003.jpg").unlink(),
        r"incomplete: 1 of the 4 images in .*train\.txt are missing, such as .*000003\.jpg; unpack the archives of VOC",
    ),
    "no images": (
        lambda y: remove(*(y / "JPEGImages").iterdir()),
        r"incomplete: 4 of the 4 images",
    ),
    "escape": (
        lambda y: lines_of(y, "train", lambda x: ["../Annotations/000001"]),
        r"incomplete: 1 of the 1 images .* are missing",
    ),
    "short list": (
        lambda y: lines_of(y, "dog_train", lambda x: x[:3]),
        r"dog_train\.txt has no line for 000004, which is in .*Main/train\.txt, line 4; replace both",
    ),
    "long list": (
        lambda y: lines_of(y, "dog_train", lambda x: [*x, "000009  1"]),
        r"dog_train\.txt, line 5: 000009 is not in .*Main/train\.txt; replace both",
    ),
    "mark": (
        lambda y: lines_of(y, "dog_train", lambda x: ["000001 2", *x[1:]]),
        r"dog_train\.txt, line 1: '2' is not 1, 0 or -1",
    ),
    "nothing": (
        lambda y: remove(y / "ImageSets/Main/dog_train.txt", y / "Annotations/000002.xml"),
        r"nothing states whether 000002 shows 'dog': both .*dog_train\.txt and .*000002\.xml are missing",
    ),
    "class": (
        lambda y: write_annotation(y / "Annotations/000001.xml", ("dogg",)),
        r"000001\.xml: 'dogg' is not one of the 20 classes of VOC; did you mean 'dog'\?; correct it, or list images",
    ),
    "xml": (
        lambda y: (y / "Annotations/000001.xml").write_text("<annotation>"),
        r"000001\.xml is not a plain XML",
    ),
    "other xml": (
        lambda y: (y / "Annotations/000001.xml").write_text("<svg/>"),
        r"begins with <svg> and not",
    ),
    "doctype": (
        lambda y: (y / "Annotations/000001.xml").write_text(BOMB),
        r"not a plain XML file \(it declares a docum",
    ),
    "utf-16 doctype": (
        lambda y: (y / "Annotations/000001.xml").write_text(BOMB, "utf-16"),
        r"not a plain XML file \(it declares a docum",
    ),
    "large": (
        lambda y: (y / "Annotations/000001.xml").write_text(f"<annotation>{' ' * (1 << 20)}</annotation>"),
        r"has 1,048,601 bytes, more than an annotation has",
    ),
    "unreadable": (
        lambda y: lock_file(y / "Annotations/000001.xml"),
        r"000001\.xml cannot be read: Is a directory; replace",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_damaged_tree_is_refused_with_the_fix(tmp_path: Path, context: Context, problem: str) -> None:
    breaks, why = PROBLEMS[problem]
    year = voc_tree(tmp_path)
    assert len(open_split(str(year), "train", context)) == 4
    breaks(year)
    with pytest.raises(UserError, match=why):
        open_split(str(year), "train", context)


def test_other_trees_are_not_taken_for_it(tmp_path: Path, context: Context) -> None:
    assert not is_voc(tree(tmp_path / "pets")) and not is_voc(tmp_path / "nowhere")
    year = voc_tree(tmp_path)
    assert is_voc(year) and is_voc(year.parent) and is_voc(tmp_path)
    (year / "JPEGImages").rename(year / "images")
    assert not is_voc(tmp_path)
    assert dataset_table(context)["voc2012"].splits == ("train", "validation")


@pytest.fixture
def every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Write VOC with images of every class in the working folder. Return the number of images in each split."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    images = [f"{n:06d}" for n in range(18)]
    objects = {image: [VOC_CLASSES[k] for k in range(20) if (n + k) % 4 == 0] for n, image in enumerate(images)}
    objects["000014"].append("?dog")
    objects["000015"].append("?cat")
    lists = {"train": images[:12], "val": images[12:14], "test": images[14:]}
    monkeypatch.setattr("tests.support.official_trees.VOC_LISTS", lists)
    voc_tree(tmp_path, objects=objects)
    return {"train": 12, "validation": 2, "test": 4}


def test_a_pipeline_learns_several_classes_and_both_average_precisions_are_printed(
    every_class: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    parts = (DenseSift(step=8, scales=1), VisualWords(words=2), LinearSvm(grid=(1.0,), folds=2, scaling="common"))
    *_, end = imclass.train(Fitting("mine", parts, "VOCdevkit"), "run", pictures=False)
    assert isinstance(end, LegEnd)
    shown = text(capsys, "evaluate", "run")
    assert "mean average precision (mAP)" in shown and "over 20 classes" in shown
    assert "at eleven recalls, as in VOC 2007" in shown and "4 of 4 evaluated" in shown
    record = json_output(capsys, "evaluate", "run")
    scores = read_scores(Path("run/scores/test.npz")).evaluation.scores
    marks = open_split("VOCdevkit", "test", open_context()).targets.numpy()
    assert [(marks == mark).sum() for mark in (1, -1)] == [20, 2]
    expected = [average_precision_score(m[m >= 0], s[m >= 0]) for m, s in zip(marks.T, scores.T, strict=True)]
    assert record["map"] == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.slow
def test_every_verb_takes_the_tree(every_class: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    record = json_output(capsys, "data", "check", "VOCdevkit")
    assert record["images"] == every_class and record["classes"] == VOC_CLASSES
    assert main(["data", "show", "VOCdevkit", "--out", "photos.png"]) == 0
    assert main(["train", "folder-bow-spm", "--data", "VOCdevkit", "--out", "run", "--words", "4"]) == 0
    capsys.readouterr()
    record = json_output(capsys, "evaluate", "run")
    assert record["total"] == 4 and 0 < record["map11"] <= 1 and record["map"] <= record["map_voc"] <= 1
    assert json_output(capsys, "evaluate", "run", "--split", "validation")["total"] == 2
