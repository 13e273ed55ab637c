"""Caltech-101 and Caltech-256 are folders of classes, which need no reader of their own."""

from pathlib import Path

import pytest

from imclass.data.catalog import open_split, open_splits
from imclass.store.context import Context
from imclass.store.store import Store
from tests.support.official_trees import write_photo

FOLDERS = {
    "101_ObjectCategories": ("BACKGROUND_Google", "Faces", "Faces_easy", "Motorbikes", "accordion", "car_side"),
    "256_ObjectCategories": ("001.ak47", "056.dog", "198.spider", "253.faces-easy-101", "257.clutter"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_the_folders_are_the_classes_with_the_names_as_they_are(tmp_path: Path, name: str) -> None:
    root, classes = tmp_path / name, FOLDERS[name]
    for k, folder in enumerate(classes):
        for n in range(5):
            write_photo(root / folder / f"image_{n:04d}.jpg", 10 * k + n, grey=folder == "car_side")
    if name.startswith("101"):
        (root / "BACKGROUND_Google" / "tmp").touch()  # in the published archive
    else:
        write_photo(root / "198.spider" / "RENAME2" / "198_0001.jpg", 0)  # in the published archive
        (root / "056.dog" / "greg").mkdir()
    context = Context(Store(tmp_path / "store", offline=True))
    splits = open_splits(str(root), context)
    train, test = splits["train"], splits["test"]
    assert train.classes == test.classes == tuple(sorted(classes))
    assert [len(splits[split]) for split in splits] == [4 * len(classes) + name.startswith("256"), len(classes)]
    assert {train[i].shape for i in range(len(train))} == {(24, 24, 3)}  # grey images, too
    everything = open_split(str(root), "all", context)
    assert len(everything) == 5 * len(classes) + name.startswith("256")
