"""A deeper VGG begins with seven layers of A: reference counts at full size, bits on narrow copies."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.models.analysis.surgery import preinitialise
from imclass.models.classifier import create, networks
from imclass.models.network import Network
from tests.support.narrow import narrow
from tests.support.outline import outline

SEVEN = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")


def vgg(name: str, seed: int, classes: int = 3, **row: Any) -> Network:
    names = [f"class {k}" for k in range(classes)]
    return create(Model(name, narrow(networks()[name]) | row), names, seed=seed).network


def bits(network: Network) -> Mapping[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


EQUAL = {"widths": (8, 8, 8, 8, 8)}  # a convolution's shape then says nothing of its place
PAIRS = {"widths": (8, 16, 16, 32, 32)}  # two pairs of equally wide stages


@pytest.mark.parametrize("row", [{}, EQUAL, PAIRS], ids=["narrow", "equal", "pairs"])
@pytest.mark.parametrize("name", ["vgg-b", "vgg-c", "vgg-d", "vgg-e"])
def test_seven_layers_are_of_a_to_the_bit_and_the_rest_is_not_touched(name: str, row: dict[str, Any]) -> None:
    """Simonyan and Zisserman 2015, section 3.1."""
    shallow, deeper = vgg("vgg-a", seed=1, **row), vgg(name, seed=2, **row)
    before, given = bits(deeper), bits(shallow)
    filled = preinitialise(deeper, shallow)
    assert tuple(layer.split(".")[1] for layer in filled) == SEVEN
    for key, tensor in deeper.state_dict().items():
        inside = key.rsplit(".", 1)[0] in filled
        assert torch.equal(tensor, (given if inside else before)[key]), key
        if inside and key.endswith("weight"):
            assert not torch.equal(tensor, before[key])  # the seeds differ, so it was copied
    assert tensors_digest(shallow.state_dict()) == tensors_digest(given)


@pytest.mark.parametrize("name", ["vgg-b", "vgg-c", "vgg-d", "vgg-e"])
def test_at_full_size_they_are_124_603_752_parameters(name: str) -> None:
    deeper = outline(networks()[name])
    filled = preinitialise(deeper, outline(networks()["vgg-a"]))
    assert sum(p.numel() for layer in filled for p in deeper.get_submodule(layer).parameters()) == 124_603_752
    if name == "vgg-b":
        assert sum(p.numel() for p in deeper.parameters()) == 133_047_848


@pytest.mark.parametrize(
    ("shallow", "deeper", "layer"),
    [
        ({}, {"classes": 4}, "head.fc8"),
        ({}, {"hidden": (8, 8)}, "head.fc6"),
        ({"widths": (8, 16, 24, 64, 64)}, {}, "features.conv3_1"),
    ],
)
def test_a_layer_without_a_place_is_named_and_nothing_changes(
    shallow: dict[str, Any], deeper: dict[str, Any], layer: str
) -> None:
    target = vgg("vgg-b", 2, **deeper)
    digest = tensors_digest(target.state_dict())
    with pytest.raises(UserError, match=f"layer '{layer}' of the shallow network"):
        preinitialise(target, vgg("vgg-a", 1, **shallow))
    assert tensors_digest(target.state_dict()) == digest
