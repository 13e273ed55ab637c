"""A run keeps pictures for its report: the worst mistakes and the first image, as the network sees them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imclass
from imclass.app.cli.main import main
from imclass.app.runs.watchers import pictures as watchers
from imclass.app.runs.watchers.pictures import network_view, read_pictures, worst_mistakes, write_pictures
from imclass.core.preprocess import Preprocess
from imclass.data.catalog import open_split
from imclass.data.images.decode import decode
from imclass.evaluation.results import read_scores
from imclass.models.classifier import load_network_classifier
from imclass.store.context import open_context
from tests.support.small import tree

TRAIN = ["train", "mnist-lenet", "--data", "pets", "--epochs", "1", "--batch", "8", "--out", "run"]


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tree(tmp_path / "pets", per_class=20, classes=("cat", "dog", "hen"))  # two of them look the same


def test_the_worst_mistakes_and_the_first_image_are_kept(pets: Path) -> None:
    assert main(TRAIN) == 0
    saved, found = read_scores(Path("run/scores/test.npz")), read_pictures(Path("run"))
    mistakes = worst_mistakes(saved.evaluation, saved.names)
    assert mistakes and {*found} == {saved.names[0], *(mistake.image for mistake in mistakes)}
    preprocess = load_network_classifier("run").preprocess
    for name, pixels in found.items():
        np.testing.assert_array_equal(pixels, preprocess(decode(pets / name)))


def test_no_pictures_are_written_with_no_pictures(pets: Path) -> None:
    assert main([*TRAIN, "--no-pictures"]) == 0
    assert not Path("run/pictures").exists() and Path("run/scores/test.npz").is_file()
    assert main([*TRAIN, "--no-pictures"]) == 0 and not Path("run/pictures").exists()


def test_missing_pictures_of_a_finished_run_are_written(pets: Path) -> None:
    assert main(TRAIN) == 0
    before = {path.name: path.read_bytes() for path in Path("run/pictures").iterdir()}
    shutil.rmtree("run/pictures")
    assert main(TRAIN) == 0
    assert {path.name: path.read_bytes() for path in Path("run/pictures").iterdir()} == before
    shutil.rmtree("run/pictures")
    assert list(imclass.train("mnist-lenet", "run", data="pets", epochs=1, batch=8)) == []
    assert Path("run/pictures/index.json").is_file()


def test_a_failure_of_pictures_is_printed_and_the_run_is_finished(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(watchers, "write_pictures", fail)
    assert main(TRAIN) == 0
    assert "note: saving the pictures failed (a fault of ours)" in capsys.readouterr().err
    assert main(TRAIN) == 0
    assert "saving the pictures failed (a fault of ours); the report will have no pictures" in capsys.readouterr().err


def test_the_folder_is_complete_or_missing(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(TRAIN) == 0
    saved, dataset = read_scores(Path("run/scores/test.npz")), open_split("pets", "test", open_context())
    before = sorted(os.listdir("run/pictures"))
    (pets / saved.names[0]).unlink()  # a missing image is left out
    write_pictures(Path("run"), saved.evaluation, saved.names, dataset, load_network_classifier("run").preprocess)
    assert {*read_pictures(Path("run"))} == {*json.loads(Path("run/pictures/index.json").read_text())}
    assert saved.names[0] not in read_pictures(Path("run"))
    after = sorted(os.listdir("run/pictures"))
    assert len(after) == len(before) - 1

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="full"):
        write_pictures(Path("run"), saved.evaluation, saved.names, dataset, None)
    assert not list(Path("run").glob(".*.part"))


@pytest.mark.parametrize("broken", ["", "[1]", '{"a": 3}', '{"a": "../../x.png"}'])
def test_a_damaged_index_yields_no_pictures(broken: str, tmp_path: Path) -> None:
    (tmp_path / "run" / "pictures").mkdir(parents=True)
    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    (tmp_path / "run" / "pictures" / "index.json").write_text(broken)
    assert read_pictures(tmp_path / "run") == {}


def test_images_are_preprocessed_or_scaled_down() -> None:
    image = np.random.default_rng(0).integers(0, 256, (900, 700, 3), dtype=np.uint8)
    blue_first = Preprocess(32, "rgb", "squash", channels="bgr")
    np.testing.assert_array_equal(network_view(image, blue_first), blue_first(image)[:, :, ::-1])
    assert network_view(image, None).shape == (512, 398, 3)  # for a classifier that is not a network
    assert network_view(image[:, :, :1], None).shape == (512, 398, 1)
