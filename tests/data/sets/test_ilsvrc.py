"""ILSVRC-2012 in the layouts in which it is distributed: its splits, classes and odd files, and incomplete trees."""

import os
import shutil
import subprocess
import tarfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.cli.main import main
from imclass.core.classes import imagenet_classes
from imclass.core.config import Cut
from imclass.core.errors import UserError
from imclass.data.catalog import open_split, open_splits
from imclass.data.sets.ilsvrc import CMYK_FILES, PNG_FILES, is_ilsvrc
from imclass.data.walk import Walk
from imclass.store.context import Context
from imclass.store.store import Store
from tests.support.command import json_output
from tests.support.corpus import SHAPE, accepted_files
from tests.support.ilsvrc_tree import CLASSES, IDS, LABELS, ilsvrc_tree, validation_name, write_jpeg
from tests.support.small import save_untrained, tree

KAGGLE = "ILSVRC/Data/CLS-LOC"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "store", offline=True))


def sort_validation(root: Path) -> None:
    """Move the validation images into a folder for each class, as the script `valprep.sh` does."""
    for n, label in enumerate(LABELS, 1):
        folder = root / "val" / IDS[label]
        folder.mkdir(exist_ok=True)
        shutil.move(root / "val" / validation_name(n), folder)
    (root / "ILSVRC2012_validation_ground_truth.txt").unlink()


@pytest.mark.parametrize("inner", ["", KAGGLE, "Data/CLS-LOC"])
def test_train_and_test_have_the_papers_classes_in_their_order(tmp_path: Path, context: Context, inner: str) -> None:
    root = ilsvrc_tree(tmp_path / "imagenet", inner=inner)
    train, test = (open_split(str(root), split, context) for split in ("train", "test"))
    assert train.classes == test.classes == CLASSES
    assert [name for name in imagenet_classes() if name in CLASSES] == list(CLASSES)
    assert train.splits == test.splits == ("train", "test")
    assert train.targets.numpy().tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert test.targets.numpy().tolist() == list(LABELS)
    assert [test.name(i) for i in range(5)] == [f"val/{validation_name(n)}" for n in range(1, 6)]
    assert train.name(0) == "train/n01440764/n01440764_10.JPEG"  # the same in every layout, and so are the ids
    assert train[0].shape == test[4].shape == (12, 12, 3)
    assert train.origin.path == str(root / inner)
    assert (train.origin.name, train.origin.rule, train.origin.notes) == ("imagenet", "published", ())
    assert test.origin.notes == (f"labels of test: {root / 'ILSVRC2012_validation_ground_truth.txt'}",)


def test_the_inner_folder_is_the_same_data(tmp_path: Path, context: Context) -> None:
    root = ilsvrc_tree(tmp_path / "imagenet", inner=KAGGLE)
    inner, outer = (open_split(str(path), "test", context) for path in (root / KAGGLE, root))
    assert inner.origin.path == outer.origin.path and inner.digest() == outer.digest()


def test_a_sorted_validation_tree_is_the_same_split(tmp_path: Path, context: Context) -> None:
    root = ilsvrc_tree(tmp_path / "imagenet")
    flat = open_split(str(root), "test", context)
    by_name = {Path(flat.name(i)).name: label for i, label in enumerate(flat.targets.numpy())}
    contents = sorted(flat.contents())
    sort_validation(root)
    test = open_split(str(root), "test", context)
    assert {Path(test.name(i)).name: label for i, label in enumerate(test.targets.numpy())} == by_name
    assert sorted(test.contents()) == contents and test.splits == ("train", "test")


def test_validation_is_cut_from_train_and_test_stays_whole(tmp_path: Path, context: Context) -> None:
    splits = open_splits(str(ilsvrc_tree(tmp_path / "imagenet")), context, Cut(validation=0.25))
    assert {name: len(splits[name]) for name in splits} == {"train": 9, "validation": 3, "test": 5}


@pytest.mark.parametrize("names", [("ILSVRC2012_img_train", "ILSVRC2012_img_val"), ("train", "validation")])
def test_folders_may_have_the_names_of_the_archives(tmp_path: Path, context: Context, names: tuple[str, str]) -> None:
    root = ilsvrc_tree(tmp_path / "imagenet")
    for old, new in zip(("train", "val"), names, strict=True):
        (root / old).rename(root / new)
    (root / "ILSVRC2012_img_train").mkdir(exist_ok=True)  # if there is a folder "train" as well, that one is taken
    assert [len(open_split(str(root), split, context)) for split in ("train", "test")] == [12, 5]


def test_the_store_may_hold_it_by_name(tmp_path: Path, context: Context) -> None:
    with pytest.raises(UserError, match=r"ilsvrc-2012 is not in the store; download it from .* a link to that folder"):
        open_split("ilsvrc-2012", "train", context)
    context.store.folder.mkdir()
    (context.store.folder / "ilsvrc-2012").symlink_to(ilsvrc_tree(tmp_path / "imagenet"))
    train = open_split("ilsvrc-2012", "train", context)
    assert len(train) == 12 and train.origin.name == "ilsvrc-2012"


def test_other_trees_are_not_taken_for_it(tmp_path: Path) -> None:
    assert not is_ilsvrc(tree(tmp_path / "pets"))
    tree(tmp_path / "split" / "train", classes=IDS)
    tree(tmp_path / "split" / "val", classes=IDS)
    assert not is_ilsvrc(tmp_path / "split")  # its files have other names, so "val" stays a validation split
    assert not is_ilsvrc(tmp_path / "nowhere")
    root = ilsvrc_tree(tmp_path / "imagenet")
    write_jpeg(root / "test" / "ILSVRC2012_test_00000001.JPEG", 0, 0)
    assert is_ilsvrc(root)
    shutil.rmtree(root / "test")
    tree(root / "test", classes=IDS)
    assert not is_ilsvrc(root)  # because a labelled test folder is its test split


@pytest.mark.parametrize("reverse", [False, True])
def test_a_stray_file_does_not_hide_a_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reverse: bool
) -> None:
    root = ilsvrc_tree(tmp_path / "imagenet")
    write_jpeg(root / "test" / IDS[0] / "photo.JPEG", 0, 0)
    (root / "test" / "notes.md").touch()
    scandir = os.scandir

    @contextmanager
    def in_order(path: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(path) as entries:
            yield iter(sorted(entries, key=lambda entry: entry.name, reverse=reverse))

    monkeypatch.setattr(os, "scandir", in_order)
    assert not is_ilsvrc(root)
    shutil.rmtree(root / "test" / IDS[0])
    assert is_ilsvrc(root)


@pytest.mark.parametrize("name", ["dog", "n99999999"])
def test_a_tree_with_other_classes_is_not_taken_for_it(tmp_path: Path, name: str) -> None:
    root = ilsvrc_tree(tmp_path / "imagenet")
    (root / "train" / IDS[0]).rename(root / "train" / f"{IDS[0]}_tench")
    for hidden in (".cache", "@eaDir"):
        (root / "train" / hidden).mkdir()
    assert is_ilsvrc(root)
    (root / "train" / name).mkdir()
    assert not is_ilsvrc(root)


def test_archives_next_to_class_folders_are_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012_img_val.tar").touch()
    for other in ("ILSVRC2012_devkit_t12", "test", "train", ".cache"):
        (tmp_path / other).mkdir()
    assert is_ilsvrc(tmp_path)
    tree(tmp_path, classes=("cats", "train"))  # a class of trains
    assert not is_ilsvrc(tmp_path)
    tree(tmp_path / "train", classes=IDS)
    assert is_ilsvrc(tmp_path)  # a train folder that is unpacked contains all class folders


def test_an_unknown_class_is_refused(tmp_path: Path, context: Context) -> None:
    root = ilsvrc_tree(tmp_path / "imagenet", inner=KAGGLE)
    (root / KAGGLE / "train" / "n99999999").mkdir()
    with pytest.raises(UserError, match=r"train: 'n99999999' is not the WordNet id of one of the 1,000 classes"):
        open_split(str(root), "train", context)


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the folders whose images are listed."""
    found, images = list[str](), Walk.images

    def recording(walk: Walk, at: str, *above: Any) -> Iterator[str]:
        found.append(at)
        return images(walk, at, *above)

    monkeypatch.setattr(Walk, "images", recording)
    return found


def test_files_are_listed_when_a_split_needs_them(tmp_path: Path, context: Context, visits: list[str]) -> None:
    splits = open_splits(str(ilsvrc_tree(tmp_path / "imagenet")), context)
    assert visits == []
    splits["test"]
    assert visits == ["val"]


def break_archives(root: Path) -> None:
    for archive, folder in (("ILSVRC2012_img_train.tar", "train"), ("ILSVRC2012_img_val.tar", "val")):
        shutil.rmtree(root / folder)
        (root / archive).touch()


def break_one_class_archive(root: Path) -> None:
    shutil.rmtree(root / "train" / IDS[1])
    (root / "train" / f"{IDS[1]}.tar").touch()


def break_train(root: Path) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()


def break_validation(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    (root / "ILSVRC2012_img_val.tar").touch()


def break_one_class(root: Path) -> None:
    shutil.rmtree(root / "train" / IDS[1])


def break_empty_class(root: Path) -> None:
    for file in (root / "train" / IDS[1]).iterdir():
        file.unlink()


def break_last_label(root: Path) -> None:
    file = root / "ILSVRC2012_validation_ground_truth.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


PROBLEMS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "archives": (break_archives, "train", r"img_train\.tar is not unpacked; run: mkdir .*/train && tar -xf .* && cd "),
    "archive of test": (break_archives, "test", r"img_val\.tar is not unpacked; run: mkdir .*/val && tar -xf \S+ -C "),
    "class archive": (
        break_one_class_archive,
        "train",
        r"train is incomplete: .* of 'n01739381'; run: cd .*for f in",
    ),
    "missing class": (break_one_class, "test", r"train is incomplete: it has no folders for 1 classes .* vine snake'"),
    "empty class": (break_empty_class, "train", r"train is incomplete: there are no images of 'n01739381'; unpack"),
    "no train": (lambda root: shutil.rmtree(root / "train"), "train", r"train does not exist; unpack ILSVRC2012_img"),
    "empty train": (break_train, "train", r"train is incomplete: there are no images of any class; unpack"),
    "empty val": (break_validation, "test", r"val has no images; unpack ILSVRC2012_img_val\.tar"),
    "class twice": (lambda root: (root / "train" / f"{IDS[0]}_tench").mkdir(), "train", "have the same WordNet id"),
    "short labels": (break_last_label, "test", r"truth\.txt has 4 labels for 5 images, and none for val/.*_00000005"),
    "lost image": (
        lambda root: (root / "val" / validation_name(3)).unlink(),
        "test",
        r"val is incomplete: 1 of the 5 images in .* missing, such as ILSVRC2012_val_00000003\.JPEG; unpack",
    ),
    "no labels": (
        lambda root: (root / "ILSVRC2012_validation_ground_truth.txt").unlink(),
        "test",
        r"the images in .*val have no labels; copy one of these files",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_an_incomplete_tree_is_refused_with_the_fix(tmp_path: Path, context: Context, problem: str) -> None:
    breaks, split, why = PROBLEMS[problem]
    root = ilsvrc_tree(tmp_path / "imagenet")
    assert len(open_split(str(root), split, context))
    breaks(root)
    with pytest.raises(UserError, match=why):
        open_split(str(root), split, context)


def test_the_printed_commands_unpack_the_archives(tmp_path: Path, context: Context) -> None:
    root = ilsvrc_tree(tmp_path / "image net")
    for wordnet_id in IDS:
        pack(root / "train" / f"{wordnet_id}.tar", root / "train" / wordnet_id)
    pack(root / "ILSVRC2012_img_train.tar", root / "train")
    pack(root / "ILSVRC2012_img_val.tar", root / "val")
    for split, images in (("train", 12), ("test", 5)):
        with pytest.raises(UserError, match="is not unpacked; run: ") as caught:
            open_split(str(root), split, context)
        subprocess.run(["sh", "-c", str(caught.value).split("run: ")[1]], check=True)
        assert len(open_split(str(root), split, context)) == images


def pack(archive: Path, folder: Path) -> None:
    """Move the files in a folder to an archive, and remove the folder."""
    with tarfile.open(archive, "w") as file:
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)
    shutil.rmtree(folder)


def test_all_odd_files_are_read_and_noted(tmp_path: Path, context: Context) -> None:
    kinds = accepted_files()
    contents = {name: kinds["cmyk.jpg" if i % 2 else "ycck.jpg"] for i, name in enumerate(sorted(CMYK_FILES))}
    contents |= dict.fromkeys(PNG_FILES, kinds["alpha.png"]) | {"n04152593_17460.JPEG": kinds["bad exif.jpg"]}
    assert len(CMYK_FILES | PNG_FILES) == 24 and len(contents) == 25
    for name, (content, _) in contents.items():
        folder = tmp_path / ("val/n01440764" if "val" in name else f"train/{name[:9]}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (tmp_path / "train" / "n01440764").mkdir()
    (tmp_path / "train" / "n01440764" / "n01440764_3.JPEG").write_bytes(kinds["plain.jpg"][0])
    train, test = (open_split(str(tmp_path), split, context) for split in ("train", "test"))
    with warnings.catch_warnings(action="error"):
        for dataset in (train, test):
            for i in range(len(dataset)):
                expected = contents.get(Path(dataset.name(i)).name, kinds["plain.jpg"])[1]
                assert expected.pixels is not None and dataset[i].shape == (*SHAPE, 3)
                assert np.abs(dataset[i].astype(int) - expected.pixels).max() <= expected.tolerance
    assert len(train) + len(test) == 26
    notes = [note.split(": ")[0] for note in (*train.origin.notes, *test.origin.notes) if "known to be" in note]
    assert notes == [
        "22 of the images are known to be CMYK, which is converted to RGB",
        "1 of the images is known to be a PNG in spite of its name, and is read as one",
        "1 of the images is known to be CMYK, which is converted to RGB",
    ]


def test_files_of_other_kinds_and_missing_training_images_are_noted(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ilsvrc_tree(tmp_path)
    (root / "val" / "cat.jpg").touch()
    (root / "train" / f"{IDS[0]}.tar").touch()
    notes = open_split(str(root), "test", context).origin.notes
    assert notes[1:] == ("ignored 1 files or folders outside the class folders: 'val/cat.jpg'",)
    (root / "train" / IDS[0]).rename(root / "train" / f"{IDS[0]}_tench")
    notes = open_split(str(root), "train", context).origin.notes
    assert notes == ("ignored 1 files or folders outside the class folders: 'train/n01440764.tar'",)
    monkeypatch.setattr("imclass.data.sets.ilsvrc.imagenet_classes", lambda: CLASSES)  # the tree has all classes
    notes = open_split(str(root), "train", context).origin.notes
    assert notes[0] == "train has 12 images, but ILSVRC-2012 has 1,281,167"


@pytest.mark.slow
def test_every_verb_takes_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], visits: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ilsvrc_tree(tmp_path / "imagenet", inner=KAGGLE)
    record = json_output(capsys, "data", "check", "imagenet")
    assert record["images"] == {"train": 12, "test": 5} and record["classes"] == list(CLASSES) and record["well"]
    options = ["--epochs", "1", "--precision", "fp32", "--device", "cpu", "--no-pictures"]
    assert main(["train", "mnist-lenet", "--data", "imagenet", "--out", "run", *options]) == 0
    capsys.readouterr()
    record = json_output(capsys, "evaluate", "run")
    assert record["total"] == 5 and record["data"].startswith(f"split test of {tmp_path / 'imagenet'}")
    ilsvrc_tree(tmp_path / "other", labels=(0, 1, 2))
    visits.clear()
    record = json_output(capsys, "evaluate", "run", "--data", "other")
    assert record["total"] == 3 and record["data"] == "split test of other"
    assert visits == ["val"]  # the model has seen none of this tree, so its training images are not listed


@pytest.mark.slow
def test_published_weights_are_evaluated_without_the_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(ilsvrc_tree(tmp_path / "imagenet") / "train")
    save_untrained(tmp_path / "lenet.safetensors", imagenet_classes())
    record = json_output(capsys, "evaluate", "lenet.safetensors", "--data", "imagenet")
    assert record["evaluated"] == 5 and record["data"] == "split test of imagenet"
    assert main(["train", "mnist-lenet", "--data", "imagenet"]) == 2
    assert "train does not exist; unpack ILSVRC2012_img_train.tar" in capsys.readouterr().err
