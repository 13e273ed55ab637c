"""Parity with 22 networks of torchvision and timm: tensor names, shapes, and scores with the same weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from imclass.app.cli.main import main
from imclass.models.classifier import load_network_classifier, networks, row_of
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.matching import meta_tensors
from tests.support import filled

RECORDED = filled.recorded_networks()
ENTRIES: dict[str, NetworkEntry] = networks().entries
LARGE = 24_000_000  # parameters; larger networks are in the slow set
# In the slow set as well: resnext50_32x4d, densenet121 and resnet18 stand for them in the quick one.
REPEATS = ("torchvision.densenet169", "torchvision.resnet34", "torchvision.resnet50")


def ours(key: str) -> str:
    """Return our name of a recorded network."""
    library, name = key.split(".", 1)
    return next(n for n, e in ENTRIES.items() if library in e.foreign and e.foreign[library].name == name)


def cases() -> list[Any]:
    """Return the recorded networks. Those that are large or repeat another's form are marked slow."""
    return [
        pytest.param(key, marks=[pytest.mark.slow] if known["parameters"] > LARGE or key in REPEATS else [])
        for key, known in RECORDED.items()
    ]


@pytest.mark.parametrize("key", RECORDED)
def test_names_and_shapes_are_theirs(key: str) -> None:
    entry = ENTRIES[ours(key)]
    foreign = entry.foreign[key.split(".")[0]]
    state = meta_tensors(entry, row_of(entry, dict(foreign.row), key), 1000, 3)
    assert {foreign.rename(name): list(tensor.shape) for name, tensor in state.items()} == RECORDED[key]["state"]


@pytest.mark.parametrize("key", cases())
def test_their_weights_give_their_scores(key: str, tmp_path: Path) -> None:
    """Import weights on the command line and compare scores: a relative rms difference of at most 1e-5."""
    state = {name: torch.from_numpy(v) for name, v in filled.fill_tensors(RECORDED[key]["state"]).items()}
    file, model = tmp_path / ("theirs.pth" if "resnet" in key else "theirs.safetensors"), tmp_path / "ours.safetensors"
    torch.save(state, file) if file.suffix == ".pth" else safetensors.torch.save_file(state, file)
    del state
    assert main(["weights", "import", str(file), "--as", ours(key), "--out", str(model)]) == 0
    network = load_network_classifier(model).network
    network.normalise((0.0,), (1.0,))
    with torch.inference_mode():
        found = network(torch.from_numpy(filled.images(RECORDED[key]["size"]))).numpy()
    wanted = filled.scores(key)
    assert np.sqrt(((found - wanted) ** 2).mean() / (wanted**2).mean()) <= 1e-5
