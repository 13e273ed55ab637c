"""The verb `features` writes a layer's outputs as numbers and draws them as a picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imclass.app.cli.main import main
from imclass.app.draw.grid import map_grid
from imclass.models.classifier import NetworkClassifier, load_network_classifier
from imclass.serving.features import first_maps, layer_outputs
from imclass.serving.inputs import Files, gather_files
from tests.support.small import save_untrained, tree
from tests.support.tolerance import assert_near


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = tmp_path_factory.mktemp("world")
    tree(world / "pets", per_class=3)
    save_untrained(world / "model.safetensors")
    return world


@pytest.fixture(scope="module")
def classifier(world: Path) -> NetworkClassifier:
    return load_network_classifier(world / "model.safetensors")


@pytest.fixture(scope="module")
def files(world: Path) -> Files:
    return gather_files([str(world / "pets")])


def test_numbers_and_picture_are_written(
    world: Path, classifier: NetworkClassifier, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "maps.npy", tmp_path / "maps.png"
    words = ["features", str(world / "model.safetensors"), str(world / "pets"), "--layer", "features.0"]
    assert main([*words, "--out", str(out), "--grid", str(picture), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    found = layer_outputs(classifier, files, "features.0")
    numbers = np.load(out, allow_pickle=False)
    assert_near(numbers, found.outputs)  # the verb computes in another memory order
    expected = map_grid(first_maps(replace(found, outputs=numbers)))
    with Image.open(picture) as drawn:
        side = drawn.width // expected.shape[1]  # the side of the square that each value is drawn as
        np.testing.assert_array_equal(np.asarray(drawn), expected.repeat(side, axis=0).repeat(side, axis=1))
    assert record == {
        "layer": "features.0", "shape": list(numbers.shape), "grid": list(expected.shape),
        "paths": list(files.paths), "notes": [], "refused": [],
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps.npy", "maps.png"]
    assert main([*words, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"features.0: {' x '.join(map(str, numbers.shape))}\n{out}\n"


def test_only_files_of_the_same_kind_are_replaced(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["features", str(world / "model.safetensors"), str(world / "pets")]
    for option, name in (("--out", "maps.npy"), ("--grid", "maps.png")):
        file = tmp_path / name
        assert main([*words, option, str(file)]) == main([*words, option, str(file)]) == 0
        file.write_text("something of the user's")
        assert main([*words, option, str(file)]) == 2
        assert f"{option} {file} already exists" in capsys.readouterr().err
        assert file.read_text() == "something of the user's"


def test_refused_files_are_named(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.png").write_bytes(b"GIF89a")
    words = ["features", str(world / "model.safetensors"), str(world / "pets"), str(tmp_path / "bad.png")]
    assert main([*words, "--out", str(tmp_path / "maps.npy"), "--json"]) == 1
    shown = capsys.readouterr()
    assert f"refused: {tmp_path / 'bad.png'}" in shown.err
    record = json.loads(shown.out)
    assert [r["path"] for r in record["refused"]] == [str(tmp_path / "bad.png")]
    assert record["grid"] is None and record["shape"][0] == len(record["paths"]) == 6
