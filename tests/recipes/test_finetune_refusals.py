"""Unsuitable models, photos and lists of photos: finetune and probe refuse them with one message and exit code 2."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.app.cli.main import main
from imclass.app.runs import settle
from imclass.core.config import Model
from imclass.core.errors import BadImage
from imclass.core.preprocess import Preprocess
from imclass.data.sets.folder import FolderDataset
from imclass.models.classifier import create
from imclass.store import store
from imclass.store.transfer import TransferError
from tests.support.command import text
from tests.support.small import fingerprint, save_untrained, tree

CLASSES = ("cat", "emu")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos of two classes and a model of other classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    tree(tmp_path / "photos", 8, CLASSES)
    save_untrained(tmp_path / "mine.safetensors")
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *words: str, recipe: str = "finetune", out: bool = False) -> str:
    """Return the message of a refused run, which changes no photo and, unless `out` is set, makes no folder."""
    before = fingerprint(Path("photos"))
    command = ["train", recipe, "--data", "photos", "--init", "mine.safetensors", "--workers", "0", "--out", "run"]
    assert main([*command, *words]) == 2
    printed = capsys.readouterr().err
    assert fingerprint(Path("photos")) == before and Path("run").exists() == out
    assert printed.count("imclass: ") == 1 and "Traceback" not in printed
    return printed[printed.index("imclass: ") :]


def test_an_ensemble_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        save_untrained(Path(f"{name}.safetensors"), CLASSES)
    words = ("evaluate", "one.safetensors", "--protocol", "flip", "--data", "photos", "--workers", "0")
    text(capsys, *words, "two.safetensors", "--save", "both.safetensors")
    message = refusal(capsys, "--init", "both.safetensors")
    assert "--init: both.safetensors is not a single network, so it has no layers; choose one of its members" in message


def test_a_head_that_is_not_linear_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    create(Model("nin-cifar"), CLASSES, Preprocess(32, "rgb", "squash")).save(Path("nin.safetensors"))
    message = refusal(capsys, "--init", "nin.safetensors", recipe="probe")
    assert "the head of nin-cifar does not end in one fully connected layer or 1x1 convolution with biases" in message


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        (("--preprocess.colour", "rgb"), "features.0,"),
        (("--model.hidden", "30", "20"), "head.1, head.4,"),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    words: tuple[str, ...], layers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Give the photos another number of channels than the model has, or the model other layers."""
    message = refusal(capsys, *words)
    assert f"--init mine.safetensors has no weights that fit {layers} so the solver would be fitted to" in message


def test_fresh_layers_may_be_random(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "probe", "--data", "photos", "--init", "mine.safetensors", "--preprocess.colour", "rgb")
    text(capsys, *words, "--stages.0.begin", "fresh", "--dry-run")


def test_weights_that_are_not_finite_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    classifier = save_untrained(Path("broken.safetensors"))
    with torch.no_grad():
        next(classifier.network.parameters())[0] = float("nan")
    classifier.save(Path("broken.safetensors"))
    message = refusal(capsys, "--init", "broken.safetensors")
    assert "--init broken.safetensors is damaged: features.0.weight has values that are not finite" in message


@pytest.mark.parametrize(
    ("precision", "fix"),
    [("fp32", "use another model with --init"), ("bf16", "use --precision fp32")],
)
def test_features_that_overflow_are_refused(precision: str, fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Use another model in the same folder, which is made before features are computed."""
    classifier = save_untrained(Path("large.safetensors"))
    with torch.no_grad():
        for layer in classifier.network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.weight *= 1e14
    classifier.save(Path("large.safetensors"))
    message = refusal(capsys, "--init", "large.safetensors", "--precision", precision, out=True)
    assert f"the features of cat/000.png are not finite, so the last layer cannot be fitted; {fix}" in message
    words = ("train", "probe", "--data", "photos", "--init", "mine.safetensors", "--precision", "fp32")
    text(capsys, *words, "--workers", "0", "--out", "run", "--no-pictures")


def test_a_class_with_one_photo_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("photos"), 1, ("owl",))
    for recipe in ("finetune", "probe"):
        message = refusal(capsys, recipe=recipe)
        assert "photos has fewer than 2 training images of 'owl'. The solver logistic needs at least 2" in message


def write_table(*more: tuple[str, str, str]) -> str:
    """Write a CSV file of the photos, with further rows, and return its name."""
    files = sorted(Path("photos").rglob("*.png"))
    rows = [(str(file), file.parent.name, "test" if file.stem > "005" else "train") for file in files]
    with Path("photos.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "split"), *rows, *more])
    return "photos.csv"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            ("photos/cat/zzz.png", "cat", "test"),
            "line 18: the file photos/cat/zzz.png does not exist; correct or remove",
        ),
        (("owl/000.png", "owl", "test"), "line 18: no image of the split train has the label 'owl'"),
        (("photos/cat/000.png", "cat", "test"), "line 18: photos/cat/000.png is already on line 2"),
    ],
)
def test_a_wrong_line_of_a_list_is_refused(
    row: tuple[str, str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """List a missing photo, a class that only the test split has, and a photo of both splits."""
    tree(Path(), 1, ("owl",))
    assert message in refusal(capsys, "--data", write_table(row))


def test_copies_of_training_photos_are_noted_and_left_out_by_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("copies") / "train", 6, CLASSES)
    tree(Path("copies") / "test", 7, CLASSES)
    words = ["train", "probe", "--data", "copies", "--init", "mine.safetensors", "--precision", "fp32", "--out", "run"]
    assert main([*words, "--workers", "0", "--no-pictures"]) == 0
    note = "12 of 14 test images are also in train; they are scored during training, but `imclass evaluate` leaves them"
    assert f"note: {note} out" in capsys.readouterr().err
    assert main(["evaluate", "run", "--workers", "0"]) == 0
    assert "2 of 14 evaluated" in capsys.readouterr().out


def test_photos_that_can_no_longer_be_read_are_refused_before_the_trial(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse every photo from the moment when the arithmetic is chosen."""

    def refuse(self: FolderDataset, i: int) -> np.ndarray:
        raise BadImage("unreadable", self.name(i), "the disk was removed")

    def choose(*arguments: Any) -> Any:
        monkeypatch.setattr(FolderDataset, "__getitem__", refuse)
        return trial_images(*arguments)

    trial_images = settle.trial_images
    monkeypatch.setattr(settle, "trial_images", choose)
    message = refusal(capsys)
    assert "no training image in " in message and "find out why with: imclass data check" in message


def test_weights_at_hand_are_named_if_others_cannot_be_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "finetune", "--data", "photos", "--offline", "--out", "run")
    assert main([*words]) == 2
    message = capsys.readouterr().err
    assert (
        "resnet-50-v1.5:torchvision is not in the store, and --offline forbids downloading it. By hand: save https"
        in message
    )
    assert f"as {Path('store').absolute()}/weights/resnet-50-v1.5/resnet50-0676ba61.pth" in message
    assert "has no published weights. Run the same command with --init MODEL, where MODEL is one of" in message
    for name in ("googlenet/bvlc.npz", "resnet-18/torchvision.pth"):
        Path("store/weights", name).parent.mkdir(parents=True)
        Path("store/weights", name).write_bytes(b"")
    assert main([*words]) == 2
    options = "--init googlenet:bvlc, --init resnet-18:torchvision, or with --init MODEL"
    assert f"To use weights that the store has, run the same command with {options}" in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.fixture
def cut_download(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every download fail after its size is known."""

    def fail(*_: object) -> None:
        raise TransferError("the cable was cut")

    monkeypatch.setattr(store, "remote_size", lambda *_: 102_530_333)
    monkeypatch.setattr(store, "publish", fail)
    yield


@pytest.mark.usefixtures("cut_download")
def test_a_download_is_announced_before_it_begins(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "finetune", "--data", "photos", "--out", "run"]) == 2
    first, second, *_ = capsys.readouterr().err.splitlines()
    target = place / "store" / "weights" / "resnet-50-v1.5" / "resnet50-0676ba61.pth"
    facts = f"102.5 MB, licence BSD-3-Clause, from download.pytorch.org to {target}"
    assert first == f"downloading resnet-50-v1.5:torchvision: {facts}"
    assert "could not be downloaded" in second and "the cable was cut" in second
