"""`imclass data show`: images of each class, and the views that training with a recipe sees."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from imclass.app.acts import show
from imclass.app.acts.show import default_picture, views_of
from imclass.app.cli.main import main
from imclass.app.draw.sheet import Sheet
from imclass.app.runs.directory import Run
from imclass.app.runs.train import prepare
from imclass.app.settings.configure import configure
from imclass.core.targets import OneOf
from imclass.data.loader import Batch, Part
from imclass.store.context import find_in, open_context
from tests.support.command import json_output, text
from tests.support.small import fingerprint, tree

RECIPE = """
from imclass.core.config import Model, Stage, Training
from imclass.core.preprocess import Preprocess
from imclass.core.targets import OneOf
from imclass.data.loader import Batch, Part
from imclass.store.context import find_in
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.constant import Constant

def shown():
    kinds = find_in(None, "imclass.data.augment", "AUGMENTS", "augmentation").entries.values()
    last = Stage(name="last", optimiser=SGD(), schedule=Constant(), augment=tuple(kind() for kind in kinds))
    first = Stage(name="first", epochs=3, optimiser=SGD(), schedule=Constant())
    view = Preprocess(32, scale=36, channels="bgr")
    return Training("shown", Model("resnet-cifar-20", mean_colour=True), (first, last), view, "x")

RECIPES = {"shown": shown}
"""


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a small tree, and change to the folder that holds it."""
    monkeypatch.chdir(tmp_path)
    return tree(tmp_path / "pets", side=32)


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Sheet]:
    """Return the list to which each sheet is added in place of drawing it."""
    made: list[Sheet] = []
    monkeypatch.setattr(show, "sheet_png", lambda sheet, path: made.append(sheet))
    return made


def test_a_sheet_shows_images_of_each_class(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = fingerprint(pets)
    record = json_output(capsys, "data", "show", "pets", "--each", "3")
    assert record["rows"] == ["cat", "dog"] and record["images"] == 6 and record["refused"] == []
    assert record["out"] == "pets.png" and record["split"] == "train" and record["recipe"] is None
    with Pillow.open("pets.png") as picture:
        assert picture.format == "PNG" and picture.width > 3 * 100 and picture.height > 2 * 100
    lines = text(capsys, "data", "show", "pets", "--split", "test").splitlines()  # it replaces the first picture
    assert lines == ["4 images of pets, split test", "picture: pets.png"]
    assert fingerprint(pets) == before


def test_a_row_has_images_of_its_class_and_always_the_same(pets: Path, sheets: list[Sheet]) -> None:
    tree(pets, per_class=3, classes=("ant",), side=32)
    for _ in range(2):
        assert main(["data", "show", "pets", "--each", "6"]) == 0
    (first, again) = sheets
    assert [label for label, _ in first.rows] == ["ant", "cat", "dog"]
    assert [len(images) for _, images in first.rows] == [3 - 1, 6, 6]  # one ant is held out
    bright = [[image[:, image.shape[1] // 2 :].mean() > 120 for image in images] for _, images in first.rows]
    assert bright[1:] == [[False] * 6, [True] * 6]
    assert [len({image.tobytes() for image in images}) for _, images in first.rows] == [2, 6, 6]
    for (_, one), (_, other) in zip(first.rows, again.rows, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("recipe", ["mnist-lenet", pytest.param("folder", marks=pytest.mark.slow)])
def test_views_are_those_that_training_sees(recipe: str, pets: Path, sheets: list[Sheet]) -> None:
    """Compare with the epochs of a run on all training images, whose batches hold other images."""
    tree(pets, per_class=3, classes=("ant",), side=32)
    assert main(["data", "show", "pets", "--recipe", recipe, "--each", "3"]) == 0
    (sheet,) = sheets
    assert list(sheet.columns) == ["image", "epoch 1", "epoch 2", "epoch 3"]
    assert [label for label, _ in sheet.rows] == ["ant"] * 2 + ["cat"] * 4 + ["dog"] * 4
    job = prepare(
        configure(recipe, data="pets", batch=4, epochs=3), Run(Path("run").absolute()), open_context(), dry=True
    )
    loader = job.legs[0].loader
    assert all(len(views) == 4 for _, views in sheet.rows)
    for epoch in range(3):
        parts = [part for batch in loader.batches(epoch) for part in batch.parts.values()]
        seen = {view.numpy().transpose(1, 2, 0).tobytes() for part in parts for view in part.images}
        assert {views[1 + epoch].tobytes() for _, views in sheet.rows} <= seen
    plain = {view.tobytes() for views in loader.views() for view in views}
    assert {views[0].tobytes() for _, views in sheet.rows} <= plain


def test_every_kind_of_augmentation_can_be_shown(pets: Path, sheets: list[Sheet]) -> None:
    """Show the last stage, from its first epoch, in RGB although the network takes BGR."""
    Path("plugins").mkdir()
    Path("plugins/recipe.py").write_text(RECIPE)
    kinds = find_in(None, "imclass.data.augment", "AUGMENTS", "augmentation").entries
    assert {"area", "crop", "flip", "pad"} <= set(kinds)
    assert main(shlex.split("data show pets --recipe shown --plugins plugins --each 2")) == 0
    (sheet,) = sheets
    assert sheet.title == f"pets with the recipe shown, stage last: {', '.join(kinds)}"
    assert list(sheet.columns) == ["image", "epoch 4", "epoch 5"]
    assert "of the images shown" in sheet.note
    assert {view.shape for _, views in sheet.rows for view in views} == {(32, 32, 3)}
    assert len({view.tobytes() for _, views in sheet.rows for view in views}) > 25  # cutmix may paste a whole image


def test_blue_stays_blue(tmp_path: Path, sheets: list[Sheet], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for k in range(2):
        Path(f"plain/train/{k}").mkdir(parents=True)
        Pillow.new("RGB", (40, 40), (0, 0, 255)).save(f"plain/train/{k}/a.png")
    Path("recipe.py").write_text(RECIPE.replace("kind() for kind in kinds", ""))
    assert main(shlex.split("data show plain --recipe shown --plugins . --each 1")) == 0
    (sheet,) = sheets
    assert sheet.title.endswith("no augmentation")
    assert all((view == (0, 0, 255)).all() for _, views in sheet.rows for view in views)


def test_mixed_views_are_drawn_like_others() -> None:
    mixed = torch.tensor([0.0, 0.5, 1.0, 1.2]).view(2, 1, 1, 2)
    part = Part(mixed, OneOf(np.zeros(2, np.int64)), np.arange(2), np.array([1, 0]))
    second, first = views_of(Batch({0: part}, 1))[::-1]
    assert first.ravel().tolist() == [255, 255] and second.ravel().tolist() == [0, 128]


@pytest.mark.slow
def test_many_classes_are_cut_short_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sheets: list[Sheet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "many" / "train", 1, [f"class {k:02d}" for k in range(27)])
    shown = text(capsys, "data", "show", "many")
    assert "note: the first 25 of 27 classes" in shown and sheets[0].note == "the first 25 of 27 classes"
    assert [label for label, _ in sheets[0].rows] == [f"class {k:02d}" for k in range(25)]
    assert main(["data", "show", "many", "--recipe", "folder"]) == 0
    assert len(sheets[1].rows) == 10 and len({label for label, _ in sheets[1].rows}) == 10


def test_one_class_can_be_shown_and_not_trained(
    tmp_path: Path, sheets: list[Sheet], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "one" / "train", 1, ["猫"])
    assert main(["data", "show", "one"]) == 0 and [label for label, _ in sheets[0].rows] == ["猫"]
    assert main(["data", "show", "one", "--recipe", "folder"]) == 2
    assert "a classifier needs at least two classes, but there is only '猫'" in capsys.readouterr().err


def test_images_that_cannot_be_read_are_counted(
    pets: Path, capsys: pytest.CaptureFixture[str], sheets: list[Sheet]
) -> None:
    files = sorted(pets.rglob("*.png"))
    for path in files[2:]:
        path.write_bytes(b"")
    for more in ("", "--recipe folder"):
        record = json_output(capsys, *shlex.split(f"data show pets {more}"), code=1)
        assert record["images"] + len(record["refused"]) == 16 and 1 <= record["images"] <= 2
    assert main(["data", "show", "pets"]) == 1
    assert f"refused: {files[2].relative_to(pets.parent)}: the file has 0 bytes (empty)" in capsys.readouterr().out
    for path in files[:2]:
        path.write_bytes(b"")
    assert main(["data", "show", "pets"]) == 2
    assert "no image of the split train of pets can be read; run imclass data check pets" in capsys.readouterr().err


def test_images_with_several_labels_are_shown(pets: Path, sheets: list[Sheet]) -> None:
    lines = [f"pets/cat/{i:03d}.png,{'cat;pet' if i % 2 else 'pet'},train" for i in range(6)]
    Path("pets.csv").write_text("\n".join(["image,labels,split", *lines]) + "\n")
    for more in ([], ["--recipe", "folder"], ["--recipe", "folder-modern", "--each", "1"]):
        assert main(["data", "show", "pets.csv", *more]) == 0
    assert [(label, len(images)) for label, images in sheets[0].rows] == [("cat", 3), ("pet", 6)]
    assert sorted(label for label, _ in sheets[1].rows) == ["cat, pet"] * 3 + ["pet"] * 3
    assert sheets[2].title == "pets.csv with the recipe folder-modern: area, flip, trivial, erase"  # no mixup


def test_weights_are_not_downloaded(pets: Path, sheets: list[Sheet]) -> None:
    assert main(shlex.split("data show pets --recipe finetune --each 1 --store empty --offline")) == 0
    assert "stage all: area, flip" in sheets[0].title


def test_a_validation_split_of_the_data_is_no_obstacle(tmp_path: Path, sheets: list[Sheet]) -> None:
    """Check a recipe that holds out images for validation, and data that comes with a validation split."""
    for split in ("train", "validation", "test"):
        tree(tmp_path / "split" / split, per_class=2)
    assert (
        main(["data", "show", str(tmp_path / "split"), "--recipe", "finetune", "--out", str(tmp_path / "a.png")]) == 0
    )
    assert len(sheets[0].rows) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no data set was specified; run imclass data show NAME"),
        ("pets --each 0", "--each is 0; it must be at least 1 and at most 50"),
        ("pets --each 51", "--each is 51; it must be at least 1 and at most 50"),
        ("pets --split tests", "pets has no split 'tests'; did you mean 'test'?"),
        ("pets --recipe foldr", "no recipe is named 'foldr'; did you mean 'folder'?"),
        ("pets --recipe probe --offline", "the recipe probe does not train on views of images"),
        ("pets --out a.jpg", "the file name must end in .png; use a.png"),
        ("pets --out pets/a.png", "is inside the data folder"),
        ("pets --out notes.png", "--out notes.png already exists"),
        ("pets --recipe mnist-lenet --out nowhere/a.png", "the folder nowhere does not exist"),
        ("nowhere", "no data set is named 'nowhere'"),
    ],
)
def test_a_mistake_is_one_message_and_writes_nothing(
    words: str, message: str, pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("notes.png").write_bytes(b"not ours")
    before = fingerprint(pets.parent)
    assert main(["data", "show", *shlex.split(words)]) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed
    assert fingerprint(pets.parent) == before


def test_the_picture_is_named_after_the_data(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my.photos").mkdir()
    names = {
        "pets": "pets",
        "./pets/": "pets",
        "my.photos": "my.photos",
        "a/b.csv": "b",
        "mnist": "mnist",
        "/": "data",
    }
    assert {name: str(default_picture(name, None)) for name in names} == {n: f"{p}.png" for n, p in names.items()}
    assert str(default_picture("pets", "folder")) == "pets-folder.png"
    monkeypatch.chdir(pets)
    assert str(default_picture(".", None)) == "pets.png"


def test_the_command_line_prints_the_record(pets: Path, capsys: pytest.CaptureFixture[str], sheets: list[Any]) -> None:
    assert main(["data", "show", "pets", "--recipe", "folder", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["out"] == "pets-folder.png" and record["images"] == 10 and record["recipe"] == "folder"
