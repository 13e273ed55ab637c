"""What readers of published layouts share: lists in text files, and checks of the images that they name."""

import codecs
from pathlib import Path

import pytest

from imclass.core.errors import UserError
from imclass.data.sets.official import (
    ListEntry,
    check_disjoint,
    check_same_keys,
    label_notes,
    match_images,
    published_root,
    read_list,
)
from imclass.data.source import DataLocation
from imclass.store.store import Store
from tests.support.official_trees import write_photo


def test_a_list_is_read_with_any_line_ends_and_spaces_in_values(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"1  a b.jpg \r\n\r\n 2\tc.jpg")
    entries = read_list(path, 2, "a.tgz")
    assert {key: entry.text for key, entry in entries.items()} == {"1": "a b.jpg", "2": "c.jpg"}
    assert entries["2"] == ListEntry("c.jpg", path, 3) and entries["2"].at == f"{path}, line 3"
    path.write_text("x\ny\n")
    assert list(read_list(path, 1, "a.tgz")) == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "cells", "why"),
    [
        (None, 1, r"list\.txt does not exist; unpack a\.tgz again"),
        (b"\n", 1, r"list\.txt is empty; replace it with that in a\.tgz"),
        (b"1 a\n2\n", 2, r"list\.txt, line 2: '2' is not a name or number, a space, and a value; replace the file"),
        (b"1 a\n", 1, r"list\.txt, line 1: '1 a' is not one name"),
        (b"1 a\n2 b\n1 c\n", 2, r"line 3: 1 is already in .*list\.txt, line 1; keep one"),
        (b"\xff\xfe1", 1, r"list\.txt is not UTF-8 text"),
    ],
)
def test_an_invalid_list_is_refused_with_the_fix(tmp_path: Path, content: bytes | None, cells: int, why: str) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=why):
        read_list(path, cells, "a.tgz")


def test_two_lists_must_have_the_same_keys(tmp_path: Path) -> None:
    first = {"1": ListEntry("a", tmp_path / "a.txt", 1), "2": ListEntry("b", tmp_path / "a.txt", 2)}
    second = {key: ListEntry("x", tmp_path / "b.txt", 7) for key in "12"}
    check_same_keys(first, second, tmp_path / "b.txt", "a.tgz")
    with pytest.raises(UserError, match=r"b\.txt has no line for 2, which is in .*a\.txt, line 2; replace both"):
        check_same_keys(first, {"1": second["1"]}, tmp_path / "b.txt", "a.tgz")
    with pytest.raises(UserError, match=r"b\.txt, line 7: 2 is not in .*a\.txt; replace both"):
        check_same_keys({"1": first["1"]}, second, tmp_path / "b.txt", "a.tgz")


def test_an_image_may_be_in_one_split_only(tmp_path: Path) -> None:
    train, test = ({key: ListEntry("", tmp_path / f"{key}.txt", 3)} for key in ("a", "b"))
    check_disjoint({"train": train, "test": test})
    with pytest.raises(UserError, match=r"a\.txt, line 3: a is also in .*a\.txt, line 3; remove one"):
        check_disjoint({"train": train, "test": train})


def test_missing_images_are_refused_and_other_files_noted(tmp_path: Path) -> None:
    for name in ("a b.jpg", "sub/c.jpg", "extra.jpg"):
        write_photo(tmp_path / "images" / name, 0)
    (tmp_path / "images" / "notes.txt").touch()
    files = ("images/a b.jpg", "images/sub/c.jpg")
    source = tmp_path / "list.txt"
    assert match_images(tmp_path, "images", files, files, source, "a.tgz") == (
        "ignored 1 images that are in no list: 'images/extra.jpg'",
        "ignored 1 files without an image file extension (1 .txt): 'images/notes.txt'",
    )
    with pytest.raises(UserError, match=r"1 of the 2 images in .*list\.txt are missing, such as .*d\.jpg; unpack a\.t"):
        match_images(tmp_path, "images", (files[0], "images/d.jpg"), files, source, "a.tgz")
    with pytest.raises(UserError, match="missing, such as"):  # a path that leads out of the folder
        match_images(tmp_path, "images", ("images/../images/extra.jpg",), files, source, "a.tgz")
    with pytest.raises(UserError, match=r"pictures does not exist; unpack a\.tgz there"):
        match_images(tmp_path, "pictures", files, files, source, "a.tgz")


def test_labels_are_counted() -> None:
    assert list(label_notes([(1, 0), (2, 0)], "")) == []
    assert list(label_notes([(0, 3), (1, 1)], "are unclear")) == [
        "1 of 2 images have no label",
        "4 labels are unclear and count neither as right nor as wrong",
    ]


def test_a_missing_folder_is_refused_with_the_place_to_get_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", offline=True)
    with pytest.raises(UserError, match=r"pets is not in the store; download it from http://x, .* make .*store/pets a"):
        published_root(DataLocation(store), "pets", "http://x")
    (tmp_path / "store" / "pets").mkdir(parents=True)
    assert published_root(DataLocation(store), "pets", "http://x") == tmp_path / "store" / "pets"
    with pytest.raises(UserError, match="is a file"):
        (tmp_path / "file").touch()
        published_root(DataLocation(store, tmp_path / "file"), "pets", "http://x")
