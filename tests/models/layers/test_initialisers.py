"""Initial weights have the papers' spread and biases, and initialisers are found by name."""

import math

import pytest
import torch
from torch import Tensor, nn

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.models.classifier import create, networks, sketch
from imclass.models.layers.initialisers import (
    INITIALISERS,
    init_alexnet,
    init_glorot,
    init_he,
    init_he_convolutions,
    init_normal,
    weighted_layers,
)
from tests.support.narrow import narrow


def layers() -> nn.Sequential:
    """Return 5 convolutions and 3 fully connected layers, wide enough for statistics."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 7), nn.Conv2d(64, 64, 3, groups=4), nn.BatchNorm2d(64), nn.Conv2d(64, 96, 3, bias=False),
        nn.Conv2d(96, 64, 3), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64, 400), nn.Linear(400, 300),
        nn.Linear(300, 10),
    )  # fmt: skip


def weights(network: nn.Module) -> list[Tensor]:
    return [m.weight.detach() for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def biases(network: nn.Module) -> list[float | None]:
    """Return the value that all biases of each layer share, or None for a layer without biases."""
    found: list[float | None] = []
    for m in network.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            values = set() if m.bias is None else set(m.bias.tolist())
            assert len(values) < 2
            found.append(values.pop() if values else None)
    return found


def test_glorot_is_uniform_over_the_sum_of_both_fans() -> None:
    """Equation 16 has the bound, and equation 12 the variance 2 / (fan-in + fan-out). Fans are those of one group."""
    network = layers()
    init_glorot(network)
    fans = [(147, 64 * 49), (144, 144), (576, 864), (864, 576), (576, 576), (64, 400), (400, 300), (300, 10)]
    for weight, (fan_in, fan_out) in zip(weights(network), fans, strict=True):
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.99 * bound < weight.abs().max() <= bound
        assert weight.var() == pytest.approx(2 / (fan_in + fan_out), rel=0.05)
    assert biases(network) == [0, 0, None, 0, 0, 0, 0, 0]


FAN_INS = [147, 144, 576, 864, 576, 64, 400, 300]


def test_he_draws_every_layer_from_its_fan_in() -> None:
    network = layers()
    init_he(network)
    for weight, fan_in in zip(weights(network), FAN_INS, strict=True):
        assert weight.var() == pytest.approx(2 / fan_in, rel=0.06)
    assert biases(network) == [0, 0, None, 0, 0, 0, 0, 0]


def test_init_he_convolutions_keeps_the_fully_connected_layers() -> None:
    network, before = layers(), layers()
    init_he_convolutions(network)
    for weight, fan_in in zip(weights(network)[:5], FAN_INS, strict=False):
        assert weight.var() == pytest.approx(2 / fan_in, rel=0.05)
    assert biases(network[:6]) == [0, 0, None, 0, 0]
    assert all(torch.equal(a, b) for a, b in zip(weights(network)[5:], weights(before)[5:], strict=True))


@pytest.mark.parametrize("name", INITIALISERS)
@pytest.mark.parametrize("kind", ["lenet-5", "vgg-a", "resnet-18", "densenet-121", "googlenet", "highway-19"])
def test_an_initialiser_draws_every_layer_of_a_network(kind: str, name: str) -> None:
    network = create(Model(kind, narrow(networks()[kind])), ["cat", "dog"]).network
    for layer in weighted_layers(network):
        nn.init.zeros_(layer.weight)
    INITIALISERS[name](network)
    assert [n for n, p in network.named_parameters() if p.dim() > 1 and not p.any()] == []


@pytest.mark.parametrize("std", [0.01, 0.1])
def test_init_normal_has_the_given_standard_deviation(std: float) -> None:
    network = layers()
    init_normal(network, std)
    for weight in weights(network):
        assert weight.std() == pytest.approx(std, rel=0.05) and weight.mean().abs() < std / 10
    assert biases(network) == [0, 0, None, 0, 0, 0, 0, 0]


def test_activations_would_explode_if_a_hundredth_were_the_variance() -> None:
    """Compare outputs of the fourth convolution: the VGG paper's 0.01 must be the standard deviation."""
    network = layers()
    maps, spreads = torch.rand(1, 3, 30, 30), []
    for std in (0.01, 0.1):
        init_normal(network, std)
        spreads.append(network[4](network[3](network[2].eval()(network[1](network[0](maps))))).std().item())
    assert spreads[0] < 0.1 and spreads[1] > 100 * spreads[0]


def test_alexnet_has_biases_of_one_in_five_layers() -> None:
    """Krizhevsky et al. 2012, section 5: convolutions 2, 4 and 5 and the hidden fully connected layers."""
    network = layers()
    init_alexnet(network)
    assert biases(network) == [0, 1, None, 1, 1, 1, 1, 0]
    assert all(weight.std() == pytest.approx(0.01, rel=0.05) for weight in weights(network))


@pytest.mark.parametrize("name", INITIALISERS)
def test_batch_norms_begin_as_the_identity(name: str) -> None:
    network = layers()
    INITIALISERS[name](network)
    norm = network[2]
    assert isinstance(norm, nn.BatchNorm2d)
    assert set(norm.weight.tolist()) == {1} and set(norm.bias.tolist()) == {0}


def test_on_the_meta_device_nothing_is_drawn() -> None:
    network, state = layers().to("meta"), torch.get_rng_state()
    for initialise in INITIALISERS.values():
        initialise(network)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_takes_an_initialiser_by_name() -> None:
    row = narrow(networks()["vgg-a"])
    default, other, again = (
        create(Model("vgg-a", row, initialiser=name), ["cat", "dog"], seed=3).network
        for name in ("", "glorot", "glorot")
    )
    assert [torch.equal(a, b) for a, b in zip(weights(other), weights(again), strict=True)] == [True] * 11
    assert not any(torch.equal(a, b) for a, b in zip(weights(default), weights(other), strict=True))
    first = weights(other)[0]
    assert first.abs().max() <= math.sqrt(6 / (first[0].numel() + first[:, 0].numel()))


def test_an_unknown_initialiser_is_refused_before_anything_is_built() -> None:
    for make in (create, sketch):
        with pytest.raises(UserError, match=r"no initialiser is named 'glorrot'; did you mean 'glorot'\?"):
            make(Model("vgg-a", initialiser="glorrot"), ["cat", "dog"])
