"""A network, a data set, a protocol and a recipe can each be added by one file in a plugin folder."""

import json
import textwrap
from pathlib import Path

import pytest

from imclass.app.cli.main import main

NETWORK = """
    from dataclasses import dataclass
    from torch import nn
    from imclass.models.entry import NetworkEntry
    from imclass.models.network import Network

    @dataclass(frozen=True)
    class Row:
        width: int = 4
        size: int = 8

    class Tiny(Network):
        def __init__(self, row, classes=2, w_in=3):
            super().__init__(size=row.size, w_in=w_in)
            self.features = nn.Sequential(nn.Conv2d(w_in, row.width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(row.width * 4, classes))

    NETS = {
        "tiny": NetworkEntry(
            build=Tiny, row=Row(), parameters=4 * 28 + 17 * 2, paper="none", year=2026, classes=2
        )
    }
"""
DATA = """
    import numpy as np
    from imclass.core.contracts import Origin
    from imclass.core.targets import OneOf
    from imclass.data.source import DatasetEntry
    from imclass.data.arrays import ArrayDataset

    def halves(location):
        return {split: draw(split) for split in ("train", "test")}

    def draw(split):
        generator = np.random.default_rng(0 if split == "train" else 1)
        images = generator.integers(0, 120, (64, 8, 8, 3), dtype=np.uint8)
        labels = np.arange(64) % 2
        images[labels == 1, :, 4:] += 120
        return ArrayDataset(images, OneOf(labels), ("left", "right"), ("train", "test"), split,
                            Origin("halves", "made up", "published"))

    DATASETS = {"halves": DatasetEntry(halves, "images whose right half is brighter, or not")}
"""
PROTOCOL = """
    from dataclasses import dataclass
    from imclass.models.views.batches import score_one_view

    @dataclass(frozen=True)
    class Mirrored:
        name: str = "mirrored"

        def scales_for(self, preprocess):
            return ()

        def check(self, classifier):
            pass

        def __call__(self, classifier, images):
            return score_one_view(classifier, [image[:, ::-1] for image in images], classifier.preprocess)

    PROTOCOLS = {"mirrored": Mirrored()}
"""
RECIPE = '''
    from imclass.core.config import Model, Stage, Training
    from imclass.core.preprocess import Preprocess
    from imclass.training.optimisers.sgd import SGD
    from imclass.training.schedules.constant import Constant

    def halves_tiny():
        """Tell halves apart."""
        stage = Stage(epochs=6, batch=16, optimiser=SGD(), schedule=Constant(rate=0.05))
        return Training("halves-tiny", Model("tiny"), (stage,), Preprocess(8, "rgb", "none"), "halves")

    RECIPES = {"halves-tiny": halves_tiny}
'''


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name, text in (("tiny", NETWORK), ("halves", DATA), ("mirrored", PROTOCOL), ("recipe", RECIPE)):
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return folder


def test_all_four_work_together(plugins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, out = ["--plugins", str(plugins), "--json"], tmp_path / "run"
    assert main(["train", "halves-tiny", "--out", str(out), "--model.width", "6", *options]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["test"]["top1"] > 0.95
    assert main(["evaluate", str(out), *options]) == 0
    straight = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(out), "--protocol", "mirrored", *options]) == 0
    mirrored = json.loads(capsys.readouterr().out)
    assert straight["top1"] > 0.95 and straight["total"] == 64
    assert mirrored["top1"] != straight["top1"]  # so the protocol was used
    assert main(["info", str(out), *options]) == 0
    assert json.loads(capsys.readouterr().out)["body"]["row"] == {"width": 6, "size": 8}


def test_a_protocol_of_a_plugin_can_be_saved_and_evaluated_again(
    plugins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that the plugin is executed once, because a second execution would create a second class."""
    marks = tmp_path / "executed.txt"
    with (plugins / "mirrored.py").open("a") as file:
        file.write(f"with open({str(marks)!r}, 'a') as marks:\n    marks.write('x')\n")
    options, out, saved = ["--plugins", str(plugins), "--json"], tmp_path / "run", tmp_path / "mirrored.safetensors"
    assert main(["train", "halves-tiny", "--out", str(out), "--epochs", "1", *options]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--protocol", "mirrored", "--save", str(saved), *options]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(saved), "--data", "halves", "--split", "test", *options]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["top1"], again["loss"]) == (first["top1"], pytest.approx(first["loss"]))
    assert marks.read_text() == "x"


def test_a_changed_plugin_is_named_and_refused(
    plugins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "halves-tiny", "--epochs", "1", "--out", str(tmp_path / "run"), "--plugins", str(plugins)]
    assert main(words) == 0
    assert main(words) == 0
    (plugins / "mirrored.py").write_text("# a protocol, which the run does not use\n")
    assert main(words) == 0
    with (plugins / "tiny.py").open("a") as file:
        file.write("# another network\n")
    capsys.readouterr()
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "was begun with different plugins" in message and "network tiny: plugin file" in message
    assert "halves" not in message
    assert main([*words, "--plugins-changed"]) == 0


@pytest.mark.parametrize(("verb", "name"), [("data", "halves"), ("recipes", "halves-tiny")])
def test_entries_of_plugins_are_listed(plugins: Path, verb: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--json"]) == 0
    assert name not in [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert main([verb, "--json", "--plugins", str(plugins)]) == 0
    assert name in [row["name"] for row in json.loads(capsys.readouterr().out)]


def test_a_network_of_a_plugin_is_described(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "tiny", "--json"]) == 2
    capsys.readouterr()
    assert main(["models", "tiny", "--json", "--plugins", str(plugins)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"


@pytest.mark.parametrize("command", [["models", "tiny"], ["train", "halves-tiny", "--out", "run"]])
def test_a_row_without_a_size_is_one_error(
    command: list[str],
    plugins: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (plugins / "tiny.py").read_text()
    (plugins / "tiny.py").write_text(text.replace("    size: int = 8\n", "").replace("size=row.size", "size=8"))
    assert main([*command, "--plugins", str(plugins)]) == 2
    assert "the row of tiny has no native height and width" in capsys.readouterr().err
    assert main(["models", "--plugins", str(plugins)]) == 0
    assert "note: not usable: network tiny: UserError: the row of tiny has no native" in capsys.readouterr().err


def test_a_broken_file_is_reported_and_the_others_work(
    plugins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plugins / "broken.py").write_text("import nothing_of_this_name\n")
    assert main(["models", "tiny", "--plugins", str(plugins)]) == 0
    shown = capsys.readouterr()
    assert "broken.py" in shown.err and "nothing_of_this_name" in shown.err and "tiny" in shown.out


def test_without_the_folder_the_recipe_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "halves-tiny", "--out", str(tmp_path / "run")]) == 2
    assert "no recipe is named 'halves-tiny'" in capsys.readouterr().err
