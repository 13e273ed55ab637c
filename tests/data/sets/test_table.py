"""Images listed in a CSV file: one label or several, splits, and one message for each mistake."""

import re
from pathlib import Path

import numpy as np
import pytest

from imclass.core.config import Share
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.data.sets.table import open_table
from imclass.data.source import DataLocation, LazySplits
from imclass.data.subset import rank
from imclass.store.store import Store
from tests.support.corpus import picture, rgb_png

PNG = rgb_png(picture(0))
SEVERAL = "image,labels\na.png,cat;dog\nb.png,\nc.png, dog | eel \nsub/d.png,?cat;eel\n"


def table(folder: Path, text: str | bytes, name: str = "photos.csv") -> Path:
    """Write a CSV file and the images a to l that it may name."""
    for file in [*(f"{letter}.png" for letter in "abcdefghijkl"), "sub/d.png"]:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(PNG)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def open_csv(path: Path, seed: int = 0, share: float = 0.25) -> LazySplits:
    return open_table(DataLocation(Store(path.parent / "store"), path, seed, Share(share)))


def message(folder: Path, text: str | bytes) -> str:
    with pytest.raises(UserError) as error:
        open_csv(table(folder, text))
    assert "photos.csv" in str(error.value)
    return str(error.value)


def test_the_column_labels_holds_any_number_of_labels(tmp_path: Path) -> None:
    splits = open_csv(table(tmp_path, SEVERAL))
    whole = splits["all"]
    assert isinstance(whole, Dataset) and whole.classes == ("cat", "dog", "eel") and isinstance(whole.targets, AnyOf)
    assert [whole.name(i) for i in range(4)] == ["a.png", "b.png", "c.png", "sub/d.png"]
    assert whole.targets.numpy().tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1], [-1, 0, 1]]
    assert np.array_equal(whole[3], picture(0)) and whole.digest() == open_csv(table(tmp_path, SEVERAL))["all"].digest()
    assert whole.origin.name == "photos.csv" and whole.origin.path == str(tmp_path / "photos.csv")
    assert "1 of 4 images have no label" in whole.origin.notes
    assert "1 labels were not annotated and count neither as right nor as wrong" in whole.origin.notes


def test_commas_between_labels_are_noted(tmp_path: Path) -> None:
    """Note labels with commas, which may be meant as one label each."""
    notes = open_csv(table(tmp_path, 'image,labels\na.png,"cat,dog"\nb.png,cat;eel\nc.png,"cat,dog"\n'))[
        "all"
    ].origin.notes
    assert "'cat,dog' is one label, because labels are separated by ; or | and not by commas" in notes
    notes = open_csv(table(tmp_path, 'image,label\na.png,"cat,dog"\nb.png,cat\n'))["all"].origin.notes
    assert not any("comma" in note for note in notes)


def test_another_label_changes_the_digest(tmp_path: Path) -> None:
    before = open_csv(table(tmp_path, SEVERAL))["all"].digest()
    for other in (SEVERAL.replace("b.png,", "b.png,cat"), SEVERAL.replace("?cat", "cat")):
        assert open_csv(table(tmp_path, other))["all"].digest() != before


def test_the_column_label_holds_one_label(tmp_path: Path) -> None:
    whole = open_csv(table(tmp_path, "image,label\nb.png,dog\na.png,cat\nc.png,cat\n"))["all"]
    assert isinstance(whole.targets, OneOf) and whole.targets.numpy().tolist() == [0, 1, 0]


def test_images_are_split_by_hash_and_with_one_label_class_by_class(tmp_path: Path) -> None:
    names = [f"{letter}.png" for letter in "abcdefghijkl"]
    several = table(tmp_path, "image,labels\n" + "".join(f"{n},{'cat;dog' if n < 'c' else 'dog'}\n" for n in names))
    splits = open_csv(several, seed=5)
    expected = sorted(names, key=lambda name: rank(name, 5))[:3]
    test = splits["test"]
    assert sorted(test.name(i) for i in range(len(test))) == sorted(expected)
    assert len(splits["train"]) == 9 and test.origin.rule == "hash 75/25, seed 5"
    assert test.splits == ("train", "test")
    one = table(tmp_path, "image,label\n" + "".join(f"{n},{'cat' if n < 'e' else 'dog'}\n" for n in names))
    assert open_csv(one)["test"].targets.counts(2).tolist() == [1, 2]


def test_the_column_split_is_used_and_other_columns_are_noted(tmp_path: Path) -> None:
    text = "Image,Labels,Split,author,camera\na.png,cat;dog,train,x,y\nb.png,dog,VAL,x,y\nc.png,cat,test,x,y\n"
    splits = open_csv(table(tmp_path, text))
    assert list(splits) == ["train", "validation", "test"] == list(splits["train"].splits)
    assert splits["train"].origin.rule == "table" and splits["validation"].name(0) == "b.png"
    assert splits["train"].origin.notes[0] == "columns that are not read: 'author', 'camera'"
    assert "test has no images of 'dog'" in splits["train"].origin.notes


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + SEVERAL.encode(),
        SEVERAL.replace("\n", "\r\n").encode(),
        SEVERAL.replace(";", "|").replace(",", ";").encode(),  # as Excel writes it if the comma is the decimal point
        b'image;labels\na.png;"cat;dog"\nb.png;\n"c.png"; dog | eel \nsub/d.png;"?cat;eel"\n',
        SEVERAL.replace("\n", "\n\n").encode(),
        SEVERAL.replace("sub/d", "./sub/d").encode(),
    ],
)
def test_other_separators_and_line_ends_are_read(text: bytes, tmp_path: Path) -> None:
    expected = open_csv(table(tmp_path, SEVERAL, "other.csv"))["all"]
    found = open_csv(table(tmp_path, text))["all"]
    assert found.digest() == expected.digest() and found.targets.numpy().tolist() == expected.targets.numpy().tolist()


def test_class_names_are_composed(tmp_path: Path) -> None:
    text = "image,labels\na.png,caf\u00e9\nb.png,cafe\u0301;tea\n"
    assert open_csv(table(tmp_path, text))["all"].classes == ("caf\u00e9", "tea")


HEAD = "image,labels\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: it has no columns; the first line must contain image and label"),
        ("file,tags\na.png,cat\n", "line 1: the columns are 'file', 'tags'; the first line must contain"),
        ("image,label,labels\n", "line 1: there are both a label and a labels column; keep one"),
        ("image,image,labels\n", "line 1: the column 'image' occurs twice"),
        (HEAD, "has no rows; add a line for each image"),
        (HEAD + "a.png,cat\n", "needs at least two classes, but the labels found are: 'cat'"),
        (HEAD + "a.png,cat;dog\n\nz.png,cat\n", "line 4: the file .*z.png does not exist; correct"),
        (HEAD + "a.png,cat;dog\nsub\\d.png,cat\n", "line 3: the file .* does not exist; write the path with /"),
        (HEAD + "a.png,cat,dog\n", "line 2: the header has 2 columns, but this line has 3; put several labels"),
        (HEAD + "a.png,cat;;dog\n", "line 2: 'cat;;dog' has an empty label; remove the extra separator"),
        (HEAD + "a.png,cat;?\n", "line 2: 'cat;\\?' has an empty label"),
        (HEAD + "a.png,cat;cat\n", "line 2: label 'cat' occurs twice; keep one"),
        (
            HEAD + "a.png,cat;dog\nb.png,cat\n./a.png,dog\n",
            "line 4: a.png is already on line 2; keep one line, with all",
        ),
        (
            HEAD + "a.png,cat;dog\nb.png,Cat\n",
            "line 3: label 'Cat' differs from 'cat' on line 2 only in case or spaces",
        ),
        (HEAD + ",cat\n", "line 2: the image is missing; give its path"),
        (HEAD + "/a.png,cat\n", "line 2: /a.png is an absolute path; give it relative to"),
        (HEAD + "https://a.org/a.png,cat\n", "line 2: https://a.org/a.png is a URL; save"),
        (HEAD + '"a.png,cat\n', "line 2: .*; correct the quotes"),
        (
            "image,label\na.png,cat\nb.png,\n",
            "line 3: the label is missing; give one, or call the column 'labels'",
        ),
        ("image,label\na.png,cat;dog\n", "line 2: 'cat;dog' is more than one label; call the column 'labels'"),
        (
            "image,labels,split\na.png,cat,train\nb.png,dog,x\n",
            "line 3: the split is 'x'; it must be one of train, valid",
        ),
        ("image,labels,split\na.png,cat;dog,test\n", "no row has the split train"),
        (
            "image,labels,split\na.png,cat;dog,train\nb.png,dogs,test\n",
            "line 3: no image of the split train has the label 'dogs'; did you mean 'dog'",
        ),
        ("image,labels\na.png,caf\u00e9;tea\n".encode("latin-1"), "is not UTF-8 text; save it as CSV UTF-8"),
    ],
)
def test_a_mistake_gives_one_message_that_names_file_and_line(text: str | bytes, words: str, tmp_path: Path) -> None:
    found = message(tmp_path, text)
    assert re.search(words, found), found


def test_for_a_missing_file_the_message_suggests_the_nearest(tmp_path: Path) -> None:
    table(tmp_path, SEVERAL)
    with pytest.raises(UserError, match=r"photo\.csv cannot be read: No such file.*; did you mean 'photos\.csv'"):
        open_csv(tmp_path / "photo.csv")
    with pytest.raises(UserError, match="'csv' is a kind of data, not a path"):
        open_table(DataLocation(Store(tmp_path)))
