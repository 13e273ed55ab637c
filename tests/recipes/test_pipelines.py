"""The recipe folder-deep-svm, run from the command line with a tiny network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imclass.app.cli.main import main
from imclass.data.images.decode import decode
from imclass.evaluation.unpack import read_classifier
from imclass.models.classifier import load_network_classifier
from imclass.models.views.embedding import Embedding
from imclass.pipelines.parts.network_features import NetworkFeatures
from imclass.pipelines.pipeline import Pipeline
from imclass.recipes.pipelines import folder_deep_svm
from tests.support.command import json_output
from tests.support.small import save_untrained, tree
from tests.support.tolerance import assert_near

SCALES = ("--parts.network-features.scales", "28", "32")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos of two classes and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    tree(tmp_path / "photos")
    save_untrained(tmp_path / "mine.safetensors")
    return tmp_path


def test_the_features_are_those_of_the_papers_appendix_b() -> None:
    config = folder_deep_svm()
    part = config.parts[0]
    assert isinstance(part, NetworkFeatures) and config.init
    assert (part.scales, part.combine, part.mirror, part.normalise) == ((256,), "average", True, True)


def test_features_of_a_network_are_fitted_and_used(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data", "photos", "--init", "mine.safetensors", *SCALES, "--out", "run")
    record = json_output(capsys, "train", "folder-deep-svm", *words)
    assert record["metrics"]["test"]["top1"] == 1
    found = read_classifier(place / "run")
    assert isinstance(found, Pipeline) and found.trained and found.trained.init
    assert found.trained.init.model == "mine.safetensors"
    network = load_network_classifier(place / "mine.safetensors")
    images = [decode(path) for path in sorted(place.glob("photos/*/00[0-3].png"))]
    assert_near(found.embed(images), Embedding(network, (28, 32), mirror=True, normalise=True)(images), 1e-5)
    labels = found.classify(images).argmax(1)
    np.testing.assert_array_equal(labels, np.arange(8) // 4)
    (place / "mine.safetensors").unlink()  # the model file of the run contains the network
    assert torch.equal(read_classifier(place / "run").classify(images), found.classify(images))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--init", ""), "the part network-features uses a trained network; name one with --init MODEL"),
        (("--init", "mine.safetensors", *SCALES[:1], "20"), "Q is 20 pixels; it must be at least 28"),
    ],
)
def test_mistakes_are_found_before_the_fit(
    words: tuple[str, ...], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "folder-deep-svm", "--data", "photos", "--out", "run", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (place / "run").exists()
