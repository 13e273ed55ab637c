"""The recipes folder-llc and folder-scspm: their papers' settings, and runs from the command line."""

from pathlib import Path

import pytest

from imclass.evaluation.unpack import read_classifier
from imclass.pipelines.parts.dense_sift import DenseSift
from imclass.pipelines.parts.llc import LocalityCoding
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.parts.sparse import SparseCoding
from imclass.pipelines.pipeline import Pipeline
from imclass.recipes.coding import folder_llc, folder_scspm
from tests.support.command import json_output
from tests.support.small import tree


def test_settings_are_those_of_the_papers() -> None:
    (sift, pyramid, llc, *_), (single, _, sparse, *_) = folder_llc().parts, folder_scspm().parts
    assert isinstance(sift, DenseSift) and isinstance(single, DenseSift) and isinstance(pyramid, Pyramid)
    assert sift.sides == [16, 24, 32] and single.sides == [16] and sift.max_side == single.max_side == 300
    assert pyramid.grids == ("1x1", "2x2", "4x4")
    assert isinstance(llc, LocalityCoding) and (llc.nearest, llc.ridge) == (5, 1e-4)
    assert isinstance(sparse, SparseCoding) and (sparse.words, sparse.penalty) == (1024, 0.15)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ("folder-llc", "folder-scspm"))
def test_a_folder_is_classified(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    tree(tmp_path / "photos")
    words = ("--data", "photos", "--words", "8", "--step", "4", "--parts.dense-sift.bin", "2", "--out", "run")
    record = json_output(capsys, "train", recipe, *words)
    assert record["metrics"]["test"]["top1"] >= 0.5
    found = read_classifier(tmp_path / "run")
    assert isinstance(found, Pipeline) and found.parts[2].kind == recipe.removeprefix("folder-").replace(
        "scspm", "sparse"
    )
