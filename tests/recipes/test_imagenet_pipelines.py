"""The pipelines of the ImageNet challenges, in small, on a tree in the layout of ILSVRC 2012."""

from pathlib import Path
from typing import Any

import pytest

from imclass.evaluation.unpack import read_classifier
from imclass.pipelines.part import every_part
from imclass.pipelines.pipeline import Pipeline
from imclass.recipes.imagenet_pipelines import imagenet_nec_2010, imagenet_xrce_2011
from tests.support.command import json_output
from tests.support.ilsvrc_tree import CLASSES, ilsvrc_tree

XRCE = ("imagenet-xrce-2011", "--words", "2", "--dims", "3")
NEC = ("imagenet-nec-2010", "--words", "3")


def kinds(config: Any) -> list[str]:
    return [part.kind for part in every_part(config.parts)]


def test_the_chains_have_the_papers_descriptors_and_codes() -> None:
    pooled = ["pyramid", "llc", "normalise"]
    assert kinds(imagenet_nec_2010()) == ["resize", "union", "hog", *pooled, "lbp", *pooled, "averaged-sgd"]
    assert kinds(imagenet_nec_2010(sift=True))[2] == "dense-sift"
    fisher = ["pca", "pyramid", "fisher", "normalise"]
    expected = ["union", "dense-sift", *fisher, "colour-statistics", *fisher, "averaged-sgd"]
    assert kinds(imagenet_xrce_2011()) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "width"), [(XRCE, 2 * 8 * 2 * 2 * 3), (NEC, 2 * 8 * 3), ((*NEC, "--sift"), 48)])
def test_a_tree_of_ilsvrc_is_fitted_and_evaluated(
    recipe: tuple[str, ...],
    width: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", "store")
    ilsvrc_tree(tmp_path / "imagenet")
    record = json_output(capsys, "train", *recipe, "--step", "4", "--data", "imagenet", "--out", "run")
    assert 0 <= record["metrics"]["test"]["top1"] <= 1
    found = read_classifier(tmp_path / "run")
    assert isinstance(found, Pipeline) and found.classes == CLASSES
    weights, biases = found.parts[-1].arrays()["weights_"], found.parts[-1].arrays()["biases_"]
    assert weights.shape == (3, width) and biases.shape == (3,)
