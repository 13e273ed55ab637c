"""The example in CONTRIBUTING.md works: a plugin with a network, a data set, a protocol and a recipe."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from imclass.core.config import Training
from imclass.core.contracts import Classifier, Dataset
from imclass.core.contracts import ViewProtocol as Protocol
from imclass.core.tables import find, load_plugins
from imclass.data.source import DataLocation
from imclass.models.classifier import NetworkClassifier, create, networks
from imclass.store.context import open_context
from imclass.store.store import Store

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
TABLES = {
    "NETS": "imclass.models.nets",
    "DATASETS": "imclass.data.sets",
    "PROTOCOLS": "imclass.evaluation.protocols",
    "RECIPES": "imclass.recipes",
}


@pytest.fixture
def plugins(tmp_path: Path) -> list[Path]:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "mine.py").write_text(example)
    return [folder]


def entry(table: str, name: str, plugins: list[Path]) -> Any:
    assert name not in find(TABLES[table], table, "entry").entries
    return find(TABLES[table], table, "entry", load_plugins(plugins))[name]


def linear(plugins: list[Path]) -> NetworkClassifier:
    return create("linear", tuple("0123456789"), context=open_context(plugins=plugins))


def test_the_network_has_the_stated_number_of_parameters(plugins: list[Path]) -> None:
    classifier = linear(plugins)
    assert isinstance(classifier, Classifier)
    stated = networks(open_context(plugins=plugins))["linear"].parameters
    assert sum(p.numel() for p in classifier.network.parameters()) == stated == 28 * 28 * 10 + 10


def test_the_data_set_fulfils_the_contract(plugins: list[Path], tmp_path: Path) -> None:
    source = entry("DATASETS", "stripes", plugins)
    data = source.open(DataLocation(Store(tmp_path)))["train"]
    assert isinstance(data, Dataset)
    assert len(data) == len(data.ids) == len(data.targets)
    first, second = data[0], data[1]
    assert data.targets.numpy()[:3].tolist() == [0, 1, 0]
    assert (first == second.transpose(1, 0, 2)).all() and (first != second).any()


def test_the_protocol_returns_scores(plugins: list[Path], tmp_path: Path) -> None:
    protocol = entry("PROTOCOLS", "whole", plugins)
    assert isinstance(protocol, Protocol)
    data = entry("DATASETS", "stripes", plugins).open(DataLocation(Store(tmp_path)))["test"]
    scores = protocol(linear(plugins), [data[0], data[1]])
    assert scores.shape == (2, 10)
    assert not torch.equal(scores[0], scores[1])


def test_the_recipe_returns_a_config(plugins: list[Path]) -> None:
    config = entry("RECIPES", "stripes-linear", plugins)()
    assert isinstance(config, Training)
    assert (config.model.network, config.data) == ("linear", "stripes")


def test_the_page_stays_short() -> None:
    assert len(PAGE.read_text().splitlines()) < 60
