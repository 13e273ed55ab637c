"""Outputs of a named layer, unaltered by the layers after it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.models.analysis.activations import find_layer, output_of
from imclass.models.classifier import create, networks
from tests.support.tolerance import assert_near


class Rectified:
    """A classifier whose second layer overwrites the first one's output, and whose third is not used."""

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
        self.network.add_module("idle", nn.Identity())

    def scores(self, views: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.network[1](self.network[0](views))


def test_a_later_layer_does_not_alter_the_output() -> None:
    tiny: Any = Rectified()
    views = torch.linspace(-1, 1, 12).reshape(4, 3)
    with torch.no_grad():
        expected = views @ tiny.network[0].weight.T + tiny.network[0].bias
    assert (expected < 0).any()
    unhooked = output_of.__wrapped__ if hasattr(output_of, "__wrapped__") else output_of
    assert_near(unhooked(tiny, tiny.network[0], views), expected)
    outputs: list[Tensor] = []  # the twin: without a copy it is altered
    tiny.network[0].register_forward_hook(lambda *a: outputs.append(a[2].detach()))
    tiny.scores(views)
    assert (outputs[0] >= 0).all()


def test_a_layer_that_is_not_used_is_a_user_error() -> None:
    tiny: Any = Rectified()
    unhooked = output_of.__wrapped__ if hasattr(output_of, "__wrapped__") else output_of
    with pytest.raises(UserError, match="is not used when images are classified"):
        unhooked(tiny, tiny.network.idle, torch.zeros(1, 3))
    assert len(tiny.network.idle._forward_hooks) == 0


def test_layers_are_found_by_name() -> None:
    network = create("lenet-5", ("cat", "dog")).network
    assert find_layer(network, "head") == ("head", network.get_submodule("head"))
    with pytest.raises(UserError, match=r"no layer 'featuers'; did you mean 'features'"):
        find_layer(network, "featuers")
    with pytest.raises(UserError, match=r"no convolution; choose a layer with --layer: 0, 1"):
        find_layer(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), None)


@pytest.mark.parametrize(("name", "first"), [("googlenet", "features.conv1"), ("inception-v3", "features.Conv2d_1a")])
def test_the_first_convolution_is_not_one_of_an_auxiliary_head(name: str, first: str) -> None:
    small = networks()[name].small
    network = create(Model(name, dict(small)), ["a", "b"]).network
    assert next(iter(network.named_children()))[0] == "sides"  # the twin: auxiliary heads come first
    assert find_layer(network, None)[0].startswith(first)
