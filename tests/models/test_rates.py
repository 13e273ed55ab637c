"""Patterns of layer names set factors of learning rates, and nothing in a frozen layer changes."""

import re
import time
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.models.classifier import create, networks
from imclass.models.network import Network
from imclass.models.rates import factor_of, layer_rates
from tests.support.narrow import imitate_training, narrow


def network(name: str) -> Network:
    return create(Model(name, narrow(networks()[name])), ("a", "b", "c")).network


def factors(name: str, rates: Mapping[str, float]) -> Mapping[str, float]:
    return layer_rates(network(name), rates).factors


def test_without_patterns_every_factor_is_1() -> None:
    found = factors("vgg-a", {})
    assert set(found) == {name for name, _ in network("vgg-a").named_parameters()} and set(found.values()) == {1.0}


def test_the_last_match_wins_and_a_pattern_covers_the_layers_inside() -> None:
    found = factors("vgg-a", {"*": 0.0, "features.conv5_?": 0.1, "head": 0.5, "head.fc8": 2.0})
    assert found["features.conv1_1.weight"] == found["features.conv4_2.bias"] == 0.0
    assert found["features.conv5_1.weight"] == found["features.conv5_2.bias"] == 0.1
    assert found["head.fc6.weight"] == 0.5 and found["head.fc8.bias"] == 2.0
    assert set(factors("vgg-a", {"head.fc8": 2.0, "head": 0.5}).values()) == {0.5, 1.0}
    assert factor_of("features.3.residual.0", {"features.[2-4]": 3.0}) == 3.0
    assert factor_of("features.3.residual.0", {"Features": 3.0, "residual": 3.0}) == 1.0


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"head.fc9": 0.1}, "--rates.head.fc9 matches no layer of the network; did you mean 'head.fc8'?"),
        ({"zzz": 0.1}, "--rates.zzz matches no layer of the network"),
        ({"head": -1.0}, "--rates.head is -1.0; it must be a number of at least 0"),
        ({"head": float("nan")}, "--rates.head is nan; it must be a number"),
        ({"head": float("inf")}, "--rates.head is inf; it must be a number"),
        ({"head": 0.0, "features": 0.0}, "--rates freezes every layer, so nothing would be trained"),
    ],
)
def test_wrong_patterns_and_factors_are_refused(rates: Mapping[str, float], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        factors("vgg-a", rates)


class Both(Network):
    """Convolution, batch norm, ReLU; dropout, mean, FC."""

    def __init__(self) -> None:
        super().__init__(8)
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(5, 3))


def learn(rates: Mapping[str, float]) -> tuple[dict[str, Tensor], dict[str, Tensor], set[str], Network]:
    """Return the state before and after three steps, and the names of the parameters with a gradient."""
    torch.manual_seed(0)
    found = imitate_training(Both())
    before = {name: tensor.clone() for name, tensor in found.state_dict().items()}
    layers = layer_rates(found, rates)
    layers.require_gradients()
    for _ in range(3):
        layers.train()
        functional.cross_entropy(found(torch.rand(6, 3, 8, 8)), torch.arange(6) % 3).backward()
        found.eval()  # scoring leaves the network in this mode
    layers.train()
    return before, found.state_dict(), {n for n, p in found.named_parameters() if p.grad is not None}, found


def test_frozen_layers_have_no_gradients_no_new_statistics_and_no_dropout() -> None:
    before, after, moved, found = learn({"*": 0.0, "head.*": 1.0})
    assert moved == {"head.3.weight", "head.3.bias"}
    assert all(torch.equal(before[name], after[name]) for name in before)
    maps = torch.rand(2, 5, 4, 4)
    assert torch.equal(found.features[3](maps), maps) and not torch.equal(found.head[2](maps), maps)


def test_layers_that_are_not_frozen_have_all_of_these() -> None:
    before, after, moved, found = learn({"head.*": 1.0})
    assert moved == {name for name, _ in found.named_parameters()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"features.1.running_mean", "features.1.running_var", "features.1.num_batches_tracked"}
    maps = torch.rand(2, 5, 4, 4)
    assert not torch.equal(found.features[3](maps), maps)


def test_a_later_stage_can_unfreeze_layers() -> None:
    found = network("vgg-a")
    layer_rates(found, {"features": 0.0}).require_gradients()
    assert not found.features[0].weight.requires_grad
    layers = layer_rates(found, {})
    layers.require_gradients()
    layers.train()
    assert all(p.requires_grad for p in found.parameters()) and all(m.training for m in found.modules())


def test_a_repeated_call_costs_almost_nothing() -> None:
    found = network("resnet-101")
    layers = layer_rates(found, {"*": 0.0, "head": 1.0})
    calls = {}
    for name, call in (("repeated", layers.train), ("complete", found.train)):
        layers.train()
        began = time.perf_counter()
        for _ in range(50):
            call()
        calls[name] = time.perf_counter() - began
    assert calls["repeated"] < calls["complete"]
