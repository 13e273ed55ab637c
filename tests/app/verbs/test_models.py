"""The verb `models`: the list and the layer table, restricted to three networks so that new ones change nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from imclass.app.cli.main import main
from imclass.core.tables import EntryTable
from imclass.models import classifier
from imclass.models.analysis import geometry
from imclass.models.analysis.activations import find_layer
from imclass.models.entry import NetworkEntry
from imclass.store.context import Context

FEW = ("lenet-5", "vgg-a", "googlenet")
ENTRIES: dict[str, NetworkEntry] = classifier.networks().entries
KEYS = ["name", "paper", "year", "input", "parameters", "published"]
KNOWN = classifier.networks


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep only three networks and those of plugins."""

    def networks(context: Context | None = None) -> EntryTable:
        table, built_in = KNOWN(context), set(KNOWN().entries)
        kept = {name: entry for name, entry in table.entries.items() if name in FEW or name not in built_in}
        return EntryTable(table.what, kept, table.failures)

    monkeypatch.setattr(classifier, "networks", networks)


def json_record(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main([*words]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_records_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    records = {record["name"]: record for record in json_record(capsys, "models")}
    assert set(records) == set(FEW) and all(list(record) == KEYS for record in records.values())
    lenet, vgg, googlenet = (records[name] for name in FEW)
    assert (lenet["input"], lenet["parameters"]) == ([1, 28, 28], 44_426)
    assert lenet["published"] is None
    assert (vgg["paper"], vgg["year"]) == ("arXiv:1409.1556", 2014)
    assert set(vgg["published"]) == {"top1", "top5", "protocol"} and vgg["published"]["top5"] == 10.4
    assert googlenet["parameters"] == 6_998_552  # without its auxiliary heads


def test_the_table_is_aligned_and_narrow(capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = text(capsys, "models")
    assert head.split() == ["name", "year", "input", "parameters", "top-1/5", "err", "paper"]
    rows = {line.split()[0]: line for line in lines}
    assert set(rows) == set(FEW)
    assert rows["vgg-a"].split() == [
        "vgg-a", "2014", "3x224x224", "132,863,336", "29.6/10.4", "arXiv:1409.1556",
    ]  # fmt: skip
    assert max(map(len, [head, *lines])) <= 100
    assert {line[head.index("paper") - 1] for line in lines} == {" "}
    assert all(line[head.index("paper")] not in " " for line in lines)


def test_one_network_has_its_layers(capsys: pytest.CaptureFixture[str]) -> None:
    record = json_record(capsys, "models", "vgg-a")
    assert record["row"]["hidden"] == [4096, 4096] and record["stride"] == 32
    (listed,) = [row for row in json_record(capsys, "models") if row["name"] == "vgg-a"]
    assert {key: record[key] for key in KEYS} == listed and record["receptive_field"] == 150
    layers = {layer["name"]: layer for layer in record["layers"]}
    assert layers["features.conv1_1"] == {
        "name": "features.conv1_1", "kind": "Conv2d", "input": [3, 224, 224], "output": [64, 224, 224],
        "kernel": [3, 3], "parameters": 1792, "macs": 86_704_128, "activations": 3_211_264,
        "receptive_field": [3, 3], "stride": [1, 1],
    }  # fmt: skip
    assert sum(layer["macs"] for layer in record["layers"]) == record["macs"]
    assert sum(layer["parameters"] for layer in record["layers"]) == record["parameters"]


FEATURES = (
    "conv1_1", "pool1", "conv2_1", "pool2", "conv3_1", "conv3_2", "pool3", "conv4_1", "conv4_2", "pool4", "conv5_1",
    "conv5_2", "pool5",
)  # fmt: skip


@pytest.mark.parametrize("name", FEW)
def test_each_layer_of_the_table_is_known_to_features(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = text(capsys, "models", name)
    rows = [line.split() for line in lines[lines.index("") + 2 :]]
    entry = ENTRIES[name]
    with torch.device("meta"):
        network = entry.build(entry.row, entry.classes, entry.w_in)
    for layer, kind, *_ in rows:
        assert type(find_layer(network, layer)[1]).__name__ == kind


def test_the_layer_table_is_that_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    lines = text(capsys, "models", "vgg-a")
    assert "published.protocol: " in "\n".join(lines)
    head = lines.index("") + 1
    assert lines[head].split() == ["layer", "kind", "kernel", "output", "parameters", "macs", "rf", "stride"]
    rows = [line.split() for line in lines[head + 1 :]]
    assert [row[0] for row in rows] == [
        *(f"features.{name}" for name in FEATURES), "head.fc6", "head.fc7", "head.fc8",
    ]  # fmt: skip
    assert rows[12] == ["features.pool5", "MaxPool2d", "2x2", "512x7x7", "0", "0", "150", "32"]
    assert rows[13] == ["head.fc6", "Linear", "-", "4096", "102,764,544", "102,760,448", "342", "32"]


def test_a_mistyped_name_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "vgg-aa"]) == 2
    assert "no network is named 'vgg-aa'; did you mean 'vgg-a'?" in capsys.readouterr().err


def test_the_list_measures_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check this because measuring all networks takes seconds."""

    def fail(*args: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(geometry, "measure", fail)
    assert len(text(capsys, "models")) == 1 + len(FEW)
    assert main(["models", "lenet-5"]) == 2
    assert "cannot be built: AssertionError: measured" in capsys.readouterr().err


def test_describing_one_network_does_not_list_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imclass.app.verbs.models.network_listing", None)
    assert text(capsys, "models", "lenet-5")[0] == "name: lenet-5"


BROKEN = """
from dataclasses import dataclass
from imclass.models.entry import NetworkEntry
@dataclass(frozen=True)
class Row:
    size: int = 28
def build(row, classes, w_in):
    raise ZeroDivisionError("no luck")
NETS = {
    "unlucky": NetworkEntry(build=build, row=Row(), parameters=1, paper="none", year=2026),
    "sizeless": NetworkEntry(build=build, row=None, parameters=1, paper="none", year=2026),
}
"""


def test_a_network_that_cannot_be_described_is_noted_and_the_others_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unlucky.py").write_text(BROKEN)
    (tmp_path / "broken.py").write_text("import nothing_like_it")
    assert main(["models", "--plugins", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "note: not usable: network sizeless: UserError: the row of sizeless has no native" in printed.err
    assert "nothing_like_it" in printed.err
    assert "vgg-a" in printed.out and "unlucky" in printed.out and "sizeless" not in printed.out


def test_a_network_that_cannot_be_built_is_a_user_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "unlucky.py").write_text(BROKEN)
    assert main(["models", "unlucky", "--plugins", str(tmp_path)]) == 2
    assert "network unlucky cannot be built: ZeroDivisionError: no luck" in capsys.readouterr().err
    assert main(["models", "sizeless", "--plugins", str(tmp_path)]) == 2
    assert "imclass: the row of sizeless has no native height and width" in capsys.readouterr().err
