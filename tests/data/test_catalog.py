"""Data sets opened by name or by path, and the messages for mistakes in these."""

import os
from pathlib import Path
from typing import Any

import pytest

from imclass.core.config import Cut
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.data.catalog import (
    canonical_name,
    dataset_table,
    find_unreadable,
    open_split,
    open_splits,
    shadowed_folder_note,
)
from imclass.data.names import is_image
from imclass.data.source import DatasetEntry
from imclass.store.context import Context, open_context
from imclass.store.store import Store
from tests.support.corpus import picture, rgb_png, write_corpus


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "store", offline=True))


def tree(root: Path) -> Path:
    for name in ("cat", "dog"):
        for i in range(10):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{i}.png").write_bytes(rgb_png(picture(i)))
    return root


def test_every_entry_has_a_summary_and_splits() -> None:
    found = dataset_table()
    assert {"mnist", "fashion-mnist", "mnist-sample", "folder"} <= set(found.entries) and found.failures == ()
    for source in found.entries.values():
        assert isinstance(source, DatasetEntry) and source.summary and "train" in source.splits
    assert found["mnist"].licence == "CC BY-SA 3.0"
    assert found["mnist"].get is not None and found["mnist-sample"].get is None


def test_a_known_name_wins_over_a_folder(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "mnist-sample")
    assert len(open_split("mnist-sample", "test", context)) == 2_000
    assert open_split("./mnist-sample", "test", context).classes == ("cat", "dog")


def test_a_path_is_a_folder_of_classes_split_by_the_seed(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "pets")
    found = open_split(str(root), "test", context, Cut(seed=4))
    assert isinstance(found, Dataset) and len(found) == 4 and found.origin.rule == "hash 80/20, seed 4"
    monkeypatch.chdir(tmp_path)
    assert len(open_split("pets", "train", context)) == 16  # no data set has this name
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_split("~/pets", "train", context)) == 16


def test_a_folder_with_the_name_of_a_data_set_is_noted(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shadowed_folder_note("mnist-sample", context) == shadowed_folder_note("mnist", context) == ()
    for name in ("mnist-sample", "mnist", "folder", "pets"):
        tree(tmp_path / name)
    (note,) = shadowed_folder_note("mnist-sample", context)
    assert "the folder mnist-sample is not read; to read the folder, give ./mnist-sample" in note
    assert all(shadowed_folder_note(data, context) == () for data in ("./mnist-sample", "folder", "pets"))
    with pytest.raises(
        UserError, match=r"(?s)offline.*to read the folder, give \./mnist"
    ):  # the folder may have been meant
        open_split("mnist", "train", context)


@pytest.mark.parametrize(
    ("data", "why"), [("", "--data is empty"), ("file:///tmp", "is a URL"), ("~no one/x", "does not exist")]
)
def test_an_invalid_path_is_refused_with_one_message(context: Context, data: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        open_split(data, "train", context)
    if why != "does not exist":
        with pytest.raises(UserError, match=why):
            canonical_name(data, context)


def test_for_an_unknown_name_the_message_suggests_the_nearest_or_a_folder(context: Context) -> None:
    with pytest.raises(
        UserError, match=r"did you mean 'mnist-sample'\? Set --data to .* a folder with one folder per class"
    ):
        open_split("mnist-sampl", "train", context)
    with pytest.raises(UserError, match=r"cifar10, .* fashion-mnist, .* ilsvrc-2012, mnist, .*\. Set --data to"):
        open_split("xyzzy", "train", context)


def test_for_a_missing_path_the_message_suggests_the_nearest(context: Context, tmp_path: Path) -> None:
    tree(tmp_path / "pets")
    with pytest.raises(UserError, match=r"the folder .*pest does not exist; did you mean 'pets'\?"):
        open_split(str(tmp_path / "pest"), "train", context)


@pytest.mark.parametrize("cut", [Cut(), Cut(validation=0.25)])
@pytest.mark.parametrize("has_parts", [False, True])
def test_a_tree_is_walked_once_for_all_splits(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: Cut, has_parts: bool
) -> None:
    root = tmp_path / "pets"
    for part in ("train", "test") if has_parts else ("",):
        tree(root / part)
    scanned: list[str] = []
    scandir = os.scandir

    def count(path: Path) -> Any:
        scanned.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", count)
    splits = open_splits(str(root), context, cut)
    assert sum(len(dataset) for dataset in splits.values()) == (40 if has_parts else 20)
    classes = [path for path in scanned if path.endswith(("cat", "dog"))]
    assert len(classes) == len(set(classes)) == (4 if has_parts else 2)
    open_split(str(root), "test", context)  # the twin: another opening walks again
    assert len([path for path in scanned if path.endswith("cat")]) == (4 if has_parts else 2)


def test_a_csv_file_is_read_by_its_path(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path)
    (tmp_path / "pets.CSV").write_text("image,label\ncat/0.png,cat\ncat/1.png,dog\n")
    monkeypatch.chdir(tmp_path)
    assert open_split("pets.CSV", "all", context).origin.name == "pets.CSV"
    with pytest.raises(UserError, match=r"pet\.csv cannot be read"):
        open_split("pet.csv", "train", context)
    with pytest.raises(UserError, match="no data set is named 'csv'"):
        open_split("csv", "train", context)
    tree(tmp_path / "folder.csv")
    assert open_split("folder.csv", "all", context).classes == ("cat", "dog")


def test_for_an_unknown_split_the_message_lists_the_splits(context: Context, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mnist-sample has no split 'validation'; there are: test, train"):
        open_split("mnist-sample", "validation", context)
    with pytest.raises(UserError, match="did you mean 'train'"):
        open_split(str(tree(tmp_path / "pets")), "tarin", context)


def test_for_a_folder_of_idx_files_the_message_names_their_place(context: Context, tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"contains IDX files \(train-images-idx3-ubyte\.gz\).*mnist/"):
        open_split(str(tmp_path / "digits"), "train", context)


def test_the_folder_entry_itself_needs_a_path(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a folder with one folder per class"):
        open_split("folder", "train", context)


def test_a_plugin_adds_a_data_set_even_next_to_a_broken_one(context: Context, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(
        "from imclass.data.source import DatasetEntry\nfrom imclass.data.sets.mnist_sample import read_sample\n"
        "DATASETS = {'mine': DatasetEntry(lambda location: {'test': read_sample('test')}, 'mine', ('test',))}\n"
    )
    (tmp_path / "plugins" / "broken.py").write_text("import nothing_of_that_name\n")
    mine = open_context(context.store, [tmp_path / "plugins"])
    assert len(open_split("mine", "test", mine)) == 2_000
    with pytest.raises(UserError, match="mine has no split 'train'"):
        open_split("mine", "train", mine)
    with pytest.raises(UserError, match=r"no data set is named 'broken'(.|\n)*nothing_of_that_name"):
        open_split("broken", "train", mine)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_scan_names_every_bad_image(context: Context, tmp_path: Path, workers: int) -> None:
    written = write_corpus(tree(tmp_path / "pets") / "cat")
    expected = {name: e for name, e in written.items() if is_image(name)}
    dataset = open_split(str(tmp_path / "pets"), "all", context)
    refused = find_unreadable(dataset, workers)
    found = {Path(r.path).name: r.code for r in refused}
    certain = {name for name, e in expected.items() if not e.accepted and e.pixels is None}
    doubtful = {name for name, e in expected.items() if not e.accepted and e.pixels is not None}
    assert certain <= set(found) <= certain | doubtful
    assert all(code in expected[name].codes for name, code in found.items())
    assert find_unreadable(open_split("mnist-sample", "test", context), workers) == ()
