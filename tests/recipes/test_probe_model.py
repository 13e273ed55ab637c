"""The model of a probe is an ordinary network: scored, fused, shown, exported, imported and folded like others."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imclass.app.cli.main import main
from imclass.core.config import Model
from imclass.core.preprocess import Preprocess
from imclass.evaluation.score import view_protocols
from imclass.models.classifier import create, load_network_classifier, networks, row_of
from imclass.models.foreign import convert, export
from tests.support.command import json_output, text
from tests.support.narrow import imitate_training, narrow
from tests.support.small import picture, provenance, tree
from tests.support.tolerance import assert_near

CLASSES = ("cat", "emu", "owl")
ENTRY = networks().entries["resnet-18"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos and two probes, each of the features of another narrow residual network."""
    folder = tmp_path_factory.mktemp("probe")
    photos = str(tree(folder / "photos", 5, CLASSES, side=70))
    for seed, name in enumerate(("one", "two")):
        mean, std = (0.4, 0.4, 0.4), (0.25, 0.25, 0.25)
        model = Model("resnet-18", narrow(ENTRY), mean, std)
        found = create(model, ("cat", "dog"), Preprocess(64, "rgb", "shorter", scale=64), seed)
        imitate_training(found.network, seed).normalise(mean, std)
        replace(found, licence="BSD-2-Clause").save(folder / f"{name}.safetensors")
        words = ["train", "probe", "--data", photos, "--init", str(folder / f"{name}.safetensors"), "--workers", "0"]
        store = ["--precision", "fp32", "--store", str(folder / "store")]
        assert main([*words, *store, "--out", str(folder / name)]) == 0
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Change to the folder."""
    monkeypatch.chdir(place)
    yield


@pytest.mark.parametrize("protocol", [name for name in view_protocols().entries if name != "spp"])  # needs a pyramid
def test_every_protocol_scores_it(protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = json_output(capsys, "evaluate", "one", "--protocol", protocol, "--workers", "0")
    assert (record["evaluated"], record["total"]) == (3, 3)


def test_two_are_fused_and_keep_their_provenance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fused = str(tmp_path / "both.safetensors")
    record = json_output(capsys, "evaluate", "one", "two", "--save", fused, "--workers", "0")
    assert len(record["rows"]) == 3
    members = json_output(capsys, "info", fused)["body"]["members"]
    solved = [member["header"]["trained"]["solved"]["01-probe"] for member in members]
    assert [one["solver"] for one in solved] == ["logistic", "logistic"]


def test_its_report_and_description_name_the_solver(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (place / "one" / "report.html").read_text()
    assert "Solver of stage <bdi>probe</bdi></dt><dd>logistic, folds 4, scaling " in page and ", 12 images<" in page
    shown = text(capsys, "info", "one")
    assert "trained.solved.01-probe.solver: logistic\n" in shown and "trained.solved.01-probe.images: 12\n" in shown
    assert "licence: BSD-2-Clause" in shown and "trained.init.model: " in shown


def test_it_predicts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = json_output(capsys, "predict", "one", str(place / "photos" / "emu" / "000.png"))
    assert {one["class"] for one in row["classes"]} == set(CLASSES)
    assert sum(one["probability"] for one in row["classes"]) == pytest.approx(1)


def test_it_is_exported_and_imported_with_the_same_scores(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the table have the narrow network, because torchvision has only the wide one."""
    table = networks().entries
    found = load_network_classifier(place / "one")
    entry = replace(ENTRY, row=row_of(ENTRY, narrow(ENTRY), "resnet-18"))
    for module in (convert, export):
        monkeypatch.setattr(module, "networks", lambda context=None: {**table, "resnet-18": entry})
    file, model = str(tmp_path / "x.pth"), tmp_path / "again.safetensors"
    text(capsys, "weights", "export", "one", "--format", "torchvision", "--out", file)
    text(capsys, "weights", "import", file, "--as", "resnet-18", "--out", str(model))
    again = load_network_classifier(model)
    assert again.classes == CLASSES
    images = [picture(9, side=70), picture(10, True, 64)]
    assert_near(again.classify(images), found.classify(images), 1e-6)
    trained = provenance(model)
    assert "x.pth" in trained.chosen


def test_it_is_folded_and_keeps_its_provenance(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text(capsys, "weights", "fold", "one", "--out", str(tmp_path / "folded.safetensors"))
    folded, found = load_network_classifier(tmp_path / "folded.safetensors"), load_network_classifier(place / "one")
    images = [picture(9, side=70), picture(10, True, 64)]
    assert_near(folded.classify(images), found.classify(images), 1e-5)
    assert folded.trained == found.trained and folded.licence == "BSD-2-Clause"
    assert torch.equal(torch.from_numpy(folded.trained_on), torch.from_numpy(found.trained_on))  # type: ignore[arg-type]
    assert json.dumps(json_output(capsys, "info", "one")["trained"]["solved"]).count("logistic") == 1
