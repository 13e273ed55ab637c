"""Runs with chosen classes, and runs that add classes to a model, through the command line."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imclass
from imclass.app.cli.main import main
from imclass.core.config import Cut
from imclass.data.catalog import open_split
from imclass.evaluation.results import read_scores
from imclass.models.classifier import load_network_classifier
from imclass.models.layers.heads import linear_layer
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.network_features import NetworkFeatures
from imclass.store.context import open_context
from tests.support.command import json_output, text
from tests.support.shapes import SHAPES, write_shapes
from tests.support.small import provenance, save_untrained, tree

TRAIN = "--epochs 1 --batch 8 --workers 0 --no-pictures --precision fp32"
DESCEND = f"train mnist-lenet --data pets {TRAIN}"
PROBE = "train probe --data pets --workers 0 --no-pictures --precision fp32"
GROW = "--init old.safetensors --grow"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos of four classes, and a model of one of them and two others."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", 10, ("cat", "dog", "emu", "owl"))
    save_untrained(tmp_path / "old.safetensors", ("yak", "dog", "ant"))
    return tmp_path


def train(words: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Train, and return what is printed on standard error."""
    capsys.readouterr()
    assert main(shlex.split(words)) == code
    return capsys.readouterr().err


def test_a_run_and_its_evaluation_see_the_chosen_images(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = train(f"{DESCEND} --out run --classes owl emu=bird dog=bird", capsys)
    for split, images in (("train", "8 of 32"), ("test", "2 of 8")):
        assert f"note: {images} images of {split} are left out: --classes does not list 'cat'\n" in printed
    assert imclass.load("run").classes == ("owl", "bird")
    kept = read_scores(place / "run" / "scores" / "test.npz")
    assert len(kept.names) == 6 and not any(name.startswith("cat/") for name in kept.names)
    found = json_output(capsys, "evaluate", "run", "--save-scores", "again.npz")
    again = read_scores(place / "again.npz")
    assert again.names == kept.names and np.array_equal(again.evaluation.scores, kept.evaluation.scores)
    assert found["confusion"] and sum(map(sum, found["confusion"])) == 6
    assert len(found["per_class"]) == 2 and found["per_class"][1]["support"] == 4
    assert provenance(place / "run").data.cut.classes == ("owl", "emu=bird", "dog=bird")  # type: ignore[union-attr]
    assert "does not list" in (place / "run" / "report.html").read_text()
    assert json.loads((place / "run" / "config.json").read_text())["counts"]["train"] == [8, 16]


def test_the_choice_applies_to_the_data_of_the_run_only(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(f"{DESCEND} --out run --classes owl emu=bird dog=bird --validation .25", capsys)
    shutil.move("pets", "moved")
    assert json_output(capsys, "evaluate", "run", "--data", "moved", "--split", "validation")["total"] == 6
    assert json_output(capsys, "evaluate", "run", "--data", "moved")["total"] == 6
    tree(place / "others", 3, ("cat", "owl"))
    assert main(["evaluate", "run", "--data", "others"]) == 2
    assert "Not in the model: 'cat'" in capsys.readouterr().err
    tree(place / "birds", 3, ("bird", "owl"))
    assert json_output(capsys, "evaluate", "run", "--data", "birds")["total"] == 6


def test_a_run_resumes_with_the_same_classes_only(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(f"{DESCEND} --out run --classes owl emu", capsys)
    train(f"{DESCEND} --out run --classes owl emu", capsys)
    train("train --config run --out copy", capsys)
    assert imclass.load("copy").classes == ("owl", "emu")
    printed = train(f"{DESCEND} --out run --classes emu owl", capsys, code=2)
    assert "classes: ['owl', 'emu'] before, ['emu', 'owl'] now" in printed
    assert "classes: ['owl', 'emu'] before, [] now" in train(f"{DESCEND} --out run", capsys, code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--classes owl emo",
            "pets has no class 'emo'; did you mean 'emu'? The classes are 'cat', 'dog', 'emu'",
        ),
        ("--classes owl owl", "--classes owl: class 'owl' is listed twice; list it once"),
        ("--classes owl", "--classes leaves only 'owl'; a classifier needs at least two classes"),
        ("--classes owl dog=Owl", "--classes: classes 'owl' and 'Owl' differ only in case"),
        ("--grow", "--grow needs a model to grow; specify it with --init MODEL, or leave out --grow"),
        (f"{GROW} --begin fresh", "--begin fresh discards the weights of old.safetensors, so leave out --grow"),
        (
            f"{GROW} --classes cat yik",
            "the model grown with pets has no class 'yik'; did you mean 'yak'?",
        ),
        (f"{GROW} --classes cat yak=gnu", "--classes: pets has no training images of 'gnu'; add images, or leave"),
        (
            f"{GROW} --model.hidden 120 40",
            "'yak', 'ant' have no training images, and the last layer of old.",
        ),
    ],
)
def test_a_wrong_choice_is_refused_before_anything_is_written(
    words: str, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in train(f"{DESCEND} --out run {words}", capsys, code=2)
    assert not (place / "run").exists()


def head(path: Path) -> dict[str, np.ndarray]:
    """Return the weights and the bias of each class in the last layer of a model."""
    classifier = load_network_classifier(path)
    layer = linear_layer(classifier.network.head, "")
    rows = torch.cat([layer.weight.flatten(1), layer.get_parameter("bias")[:, None]], 1).detach().numpy()
    return dict(zip(classifier.classes, rows, strict=True))


def test_a_solver_fits_the_rows_of_classes_with_photos(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = train(f"{PROBE} {GROW} --out run", capsys)
    assert "note: keeps the rows of classes without photos in pets: 'yak', 'ant'. Their scores" in printed
    old, new = head(place / "old.safetensors"), head(place / "run")
    assert list(new) == ["yak", "dog", "ant", "cat", "emu", "owl"]
    assert np.array_equal(new["yak"], old["yak"]) and np.array_equal(new["ant"], old["ant"])
    data = open_split("pets", "train", open_context())
    part = NetworkFeatures()
    part.set_members({"eyes": load_network_classifier(place / "old.safetensors")})
    order = np.array([1, 0, 2, 3])  # the order of the fitted rows is dog, cat, emu, owl
    fitted = Logistic().fit(part.transform([data[i] for i in range(len(data))]), data.targets.renumber(order, 4), 4)
    for k, name in enumerate(("dog", "cat", "emu", "owl")):
        weights, biases = fitted.linear_model()
        assert np.allclose(new[name], np.r_[weights[k], biases[k]], rtol=1e-4, atol=1e-5)


def test_old_and_new_classes_are_reported_apart(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    record = json_output(capsys, *shlex.split(f"{PROBE} {GROW} --out run"))
    assert provenance(place / "run").data.cut.old == ("yak", "dog", "ant")  # type: ignore[union-attr]
    found = json_output(capsys, "evaluate", "run")
    assert found["old_classes"] == {"images": 2, "top1": record["metrics"]["test"]["top1_old"]}
    assert found["new_classes"] == {"images": 6, "top1": record["metrics"]["test"]["top1_new"]}
    printed = text(capsys, "evaluate", "run")
    assert "\nold classes: top-1 " in printed and ", 6 images\n" in printed
    summary = text(capsys, *shlex.split(f"{PROBE} {GROW} --out run"))
    assert "\ntest, old classes: top-1 " in summary and "\ntest, new classes: top-1 " in summary
    page = (place / "run" / "report.html").read_text()
    assert "Old classes</dt><dd>top-1 " in page and ", 6 images</dd>" in page


def test_classes_choose_among_old_and_new(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Order them, merge a class of the data into one of the model, and leave some out."""
    printed = train(f"{PROBE} {GROW} --out run --classes cat yak emu=dog dog", capsys)
    assert "without photos in pets: 'yak'" in printed and "8 of 32 images of train are left out" in printed
    assert imclass.load("run").classes == ("cat", "yak", "dog")
    assert np.array_equal(head(place / "run")["yak"], head(place / "old.safetensors")["yak"])
    assert json_output(capsys, "evaluate", "run")["old_classes"]["images"] == 4


def test_a_gradient_stage_begins_from_the_old_rows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Freeze all layers, so that the weights in the model file are those that training began with."""
    printed = train(f"{DESCEND} {GROW} --out run '--rates.*' 0 --rates.features.0 1e-9", capsys)
    assert "Training without photos of a class makes a model forget it" in printed
    old, new = head(place / "old.safetensors"), head(place / "run")
    assert list(new) == ["yak", "dog", "ant", "cat", "emu", "owl"]
    assert all(np.array_equal(new[name], old[name]) for name in old)


def test_a_solver_needs_photos_of_two_classes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog", "owl"):
        shutil.rmtree(place / "pets" / name)
    printed = train(f"{PROBE} {GROW} --out run", capsys, code=2)
    assert "pets has training images of only 'emu', and the solver logistic needs at least two classes" in printed
    train(f"{DESCEND} {GROW} --out run", capsys)
    assert imclass.load("run").classes == ("yak", "dog", "ant", "emu")


def test_a_model_of_several_labels_grows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that the rows of the old classes, which are separate regressions, stay the same to the last bit."""
    data = write_shapes(place / "shapes", 40)
    capsys.readouterr()
    train(f"train probe --data {data} --init old.safetensors --out run --grow --precision fp32 --workers 0", capsys)
    old, new = head(place / "old.safetensors"), head(place / "run")
    assert list(new) == ["yak", "dog", "ant", *sorted(SHAPES)]
    assert all(np.array_equal(new[name], old[name]) for name in old)
    found = json_output(capsys, "evaluate", "run")
    assert found["old_classes"] == {"images": 0, "map": None} and found["new_classes"]["map"] == found["map"]


def write_digits(folder: Path, digits: range, split: str, most: int) -> None:
    """Write the first images of each digit into a folder per class."""
    cut = Cut(classes=tuple(map(str, digits)))
    data = open_split("mnist-sample", split, open_context(), cut)
    for positions, name in zip(data.targets.by_class(len(data.classes)), data.classes, strict=True):
        (folder / name).mkdir(parents=True)
        for i in positions[:most].tolist():
            Image.fromarray(data[i][:, :, 0]).save(folder / name / f"{i}.png")


@pytest.mark.slow
def test_what_a_model_keeps_of_classes_without_photos(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train on the digits 0 to 6, then grow by 7 to 9 without photos of the others, as docs/begin.md describes."""
    train("train mnist-lenet --data mnist-sample --classes 0 1 2 3 4 5 6 --out old --epochs 2 --workers 0", capsys)
    write_digits(place / "new" / "train", range(7, 10), "train", 300)
    write_digits(place / "new" / "test", range(7, 10), "test", 50)
    shares: dict[str, Any] = {}
    for recipe in ("probe", "mnist-lenet"):
        train(f"train {recipe} --data new --init old --grow --out {recipe} --precision fp32 --workers 0", capsys)
        found = json_output(capsys, "evaluate", recipe, "--data", "mnist-sample", "--split", "test")
        shares[recipe] = (found["old_classes"]["top1"], found["new_classes"]["top1"])
    assert shares["probe"][0] > 0.4 and shares["probe"][1] > 0.1 and min(shares["probe"]) < 0.8, shares
    assert shares["mnist-lenet"][0] < 0.05 and shares["mnist-lenet"][1] > 0.9
