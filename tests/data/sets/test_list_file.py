"""Images listed in a text file without a header, and one message for each mistake."""

from pathlib import Path

import pytest

from imclass.core.config import Share
from imclass.core.errors import UserError
from imclass.data.sets.list_file import open_list
from imclass.data.sets.table import open_table
from imclass.data.source import DataLocation, LazySplits
from imclass.store.store import Store
from tests.support.corpus import picture, rgb_png


def write(folder: Path, text: str | bytes, name: str = "train_list.txt") -> Path:
    """Write a list and the images that it may name."""
    for file in [*(f"{letter}.png" for letter in "abcdefgh"), "sub/my photo.png"]:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(rgb_png(picture(0)))
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def location(path: Path) -> DataLocation:
    return DataLocation(Store(path.parent / "store"), path, 0, Share(0.25))


def labels_by_name(splits: LazySplits, split: str = "all") -> dict[str, str]:
    data = splits[split]
    return dict(zip(map(data.name, range(len(data))), data.targets.label_texts(data.classes), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "b.png 7\nsub/my photo.png 10\na.png 7\n",  # Caffe
        "b.png\t7\r\nsub/my photo.png\t10\r\n\r\na.png\t7",  # PaddleClas
        b"\xef\xbb\xbf./b.png   7 \n  sub/my photo.png 10\na.png 7\n",
    ],
)
def test_the_class_follows_the_last_space_or_tab(text: str | bytes, tmp_path: Path) -> None:
    splits = open_list(location(write(tmp_path, text)))
    assert splits["all"].classes == ("10", "7")
    assert labels_by_name(splits) == {"a.png": "7", "b.png": "7", "sub/my photo.png": "10"}


def test_with_tabs_a_class_may_contain_spaces(tmp_path: Path) -> None:
    splits = open_list(location(write(tmp_path, "a.png\tgreat tit\nsub/my photo.png\tblue | tit\n")))
    assert labels_by_name(splits) == {"a.png": "great tit", "sub/my photo.png": "blue | tit"}


def test_the_splits_are_those_of_a_table(tmp_path: Path) -> None:
    rows = [(f"{letter}.png", "cat" if letter < "e" else "dog") for letter in "abcdefgh"]
    listed = open_list(location(write(tmp_path, "\n".join(f"{image} {name}" for image, name in rows))))
    text = "\n".join(["image,label", *(f"{image},{name}" for image, name in rows)])
    table = open_table(location(write(tmp_path, text, "photos.csv")))
    for split in ("train", "test", "all"):
        assert labels_by_name(listed, split) == labels_by_name(table, split)
    assert len(listed["test"]) == 2 and listed["test"].origin.rule == table["test"].origin.rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png 0\nb.png\n", "train_list.txt, line 2: 'b.png' has no class; write the path, a tab, and the name"),
        ("a.png 0\n\nx.png 1\n", "line 3: the file {folder}/x.png does not exist; correct or remove the line"),
        ("a.png 0\nb.png 1\n./a.png 1\n", "train_list.txt, line 3: a.png is already on line 1; keep one line"),
        ("a.png cat\nb.png Cat\nc.png dog", "line 2: label 'Cat' differs from 'cat' on line 1 only in case or spaces"),
        (
            "a.png 0\nb.png 0\n",
            ".txt: a classifier needs at least two classes, but the labels found are: '0';",
        ),
        ("\n", "train_list.txt has no rows; add a line for each image"),
        ("/data/a.png 0\n", "line 1: /data/a.png is an absolute path; give it relative to {folder}"),
        (b"\xff\xfe", "train_list.txt is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_mistake_gives_one_message(text: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        open_list(location(write(tmp_path, text)))
    assert words.format(folder=tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_list_suggests_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(UserError, match=r"train_lists.txt cannot be read: .*; did you mean 'train_list.txt'"):
        open_list(location(tmp_path / "train_lists.txt"))
