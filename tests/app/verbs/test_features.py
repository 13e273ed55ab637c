"""The verb `features` writes a layer's outputs as numbers and draws them as a picture."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imclass.app.cli.main import main
from imclass.app.cli.progress import EvaluationProgress
from imclass.app.draw.grid import map_grid
from imclass.models.classifier import NetworkClassifier, load_network_classifier
from imclass.serving.features import choose_extractor, extract_rows
from imclass.serving.inputs import Files, decode_images, gather_files
from tests.support.small import fingerprint, save_untrained, tree
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
    found = extract_rows(decode_images(files, 0), choose_extractor(classifier, "features.0"))
    numbers = np.load(out, allow_pickle=False)
    assert_near(numbers, found.outputs)  # the verb computes in another memory order
    expected = map_grid(numbers[0])
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


def test_the_default_layer_is_the_input_of_the_last_one_and_for_a_grid_the_first_convolution(
    world: Path, classifier: NetworkClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["features", str(world / "model.safetensors"), str(world / "pets"), "--json"]
    for options, layer, shape in (
        (["--out", str(tmp_path / "a.npy")], "penultimate", [6, 84]),
        (["--grid", str(tmp_path / "a.png")], "features.0", [6, 6, 24, 24]),
    ):
        assert main([*words, *options]) == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["layer"], record["shape"]) == (layer, shape)


def test_features_of_a_split_have_names_and_labels(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table, picture = tmp_path / "f.npz", tmp_path / "f.csv", tmp_path / "f.png"
    words = ["features", str(world / "model.safetensors"), "--data", str(world / "pets"), "--split", "all"]
    assert main([*words, "--out", str(out), "--map", str(picture), "--mirror", "--normalise", "--scales", "28,30"]) == 0
    assert f"note: features of split all of {world / 'pets'}" in capsys.readouterr().err
    with np.load(out, allow_pickle=False) as file:
        assert file["names"].tolist() == [f"{name}/{i:03d}.png" for name in ("cat", "dog") for i in range(3)]
        assert (file["labels"].tolist(), file["classes"].tolist()) == ([0, 0, 0, 1, 1, 1], ["cat", "dog"])
        assert np.linalg.norm(file["features"], axis=1) == pytest.approx(np.ones(6), abs=1e-6)
        record = json.loads(str(file["json"]))
    assert (record["layer"], record["scales"], record["mirror"]) == ("penultimate", [28, 30], True)
    assert record["network"] == "lenet-5" and len(record["model_digest"]) == 64
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"
    assert main([*words, "--out", str(table)]) == 0
    assert [line.split(",")[:2] for line in table.read_text().splitlines()][3:5] == [
        ["cat/002.png", "cat"],
        ["dog/000.png", "dog"],
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pets"], "no output was requested"),
        (["--out", "a.npz"], "specify image files or folders after the model, or a data set with --data"),
        (["pets", "--data", "pets", "--out", "a.npz"], "--data and image paths cannot be combined"),
        (["pets", "--split", "test", "--out", "a.npz"], "--split and image paths cannot be combined"),
        (["mnist-sample", "--out", "a.npz"], "mnist-sample is the name of a data set, .* pass --data mnist-sample"),
        (["pets", "--out", "a.txt"], r" a.txt: the file name must end in .npy, .npz or .csv; use a.npz"),
        (["pets", "--out", "a.csv", "--layer", "features.0"], "write .npy or .npz instead"),
        (["pets", "--map", "a.png", "--layer", "features.0"], "a map needs a list of numbers per image"),
        (["pets/cat/000.png", "--map", "a.png"], "a map needs at least 3 images, but there are 1"),
        (["pets", "--map", "a.png", "--grid", "a.png"], "--map and --grid name the same file"),
        (["pets", "--grid", "a.png", "--layer", "penultimate"], "returns 84 numbers per image instead of maps"),
        (["pets", "--out", "a.npz", "--scales", "27"], "--scales: Q is 27 pixels; it must be at least 28"),
        (["pets", "--out", "a.npz", "--scales", "big"], "--scales is 'big'"),
        (["pets", "--out", "a.npz", "--layer", "penultimat"], "did you mean 'penultimate'"),
    ],
)
def test_mistakes_are_found_before_work_starts(
    words: list[str], message: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    before = fingerprint(world)
    assert main(["features", "model.safetensors", *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert fingerprint(world) == before


def test_an_interrupted_command_leaves_no_file(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EvaluationProgress, "count", interrupt)
    words = ["features", str(world / "model.safetensors"), str(world / "pets"), "--out", str(tmp_path / "a.npz")]
    assert main(words) == 75
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_zip_file_is_not_replaced(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", ids=np.arange(3))
    words = ["features", str(world / "model.safetensors"), str(world / "pets"), "--out", str(tmp_path / "a.npz")]
    assert main(words) == 2
    assert "a.npz already exists" in capsys.readouterr().err
    (tmp_path / "a.npz").unlink()
    assert main(words) == main(words) == 0
