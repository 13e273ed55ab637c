"""Saving and restoring an optimiser's state, and its groups of parameters."""

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from imclass.core.config import Optimiser
from imclass.core.errors import UserError
from imclass.training import optimiser_state
from imclass.training.optimisers.adam import Adam
from imclass.training.optimisers.sgd import SGD


@pytest.mark.parametrize("config", [SGD(momentum=0.9), Adam()])
def test_state_survives_a_save(config: Optimiser) -> None:
    """Compare ten steps with five, a move of the state to a new optimiser, and five more; then without the state."""

    def run(config: Optimiser, moved: bool, kept: bool) -> torch.Tensor:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        optimiser = optimiser_state.build_optimiser(network, config)
        for t in range(10):
            if t == 5 and moved:
                state = {k: v.clone() for k, v in optimiser_state.state_tensors(network, optimiser).items()}
                optimiser = optimiser_state.build_optimiser(network, config)
                optimiser_state.restore_state(network, optimiser, state if kept else {})
            optimiser.zero_grad()
            network(torch.full((2, 3), float(t))).square().sum().backward()
            optimiser_state.set_rate(optimiser, 1e-3)
            optimiser.step()
        return dict(network.named_parameters())["0.weight"].detach()

    expected = run(config, False, False)
    assert torch.equal(expected, run(config, True, True))
    assert not torch.equal(expected, run(config, True, False))


class Counting(torch.optim.SGD):
    """An optimiser that keeps a number that is not a tensor."""

    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["count"] = 1
        return super().step(closure)


class Odd(Optimiser):
    kind: ClassVar[str] = "odd"

    def build(self, groups: list[dict[str, Any]]) -> Any:
        return Counting(groups, lr=0.0)


def test_state_that_is_not_a_tensor_is_refused() -> None:
    network = nn.Linear(1, 1)
    optimiser = optimiser_state.build_optimiser(network, Odd())
    assert optimiser_state.state_tensors(network, optimiser) == {}
    optimiser.step()
    with pytest.raises(UserError, match="Counting keeps 'count' as int, which a checkpoint cannot store"):
        optimiser_state.state_tensors(network, optimiser)


@pytest.mark.parametrize("config", [SGD(momentum=0.9), Adam()])
def test_restored_state_is_on_the_device_of_its_parameter(config: Optimiser) -> None:
    """Include the count of Adam's steps, which fused steps need on the GPU. "meta" stands for the GPU here."""
    network = nn.Conv2d(3, 4, 3)
    optimiser = optimiser_state.build_optimiser(network, config)
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    optimiser.step()
    kept = optimiser_state.state_tensors(network, optimiser)
    elsewhere = nn.Conv2d(3, 4, 3, device="meta")
    kind = torch.optim.Adam if isinstance(config, Adam) else torch.optim.SGD
    restored = kind(elsewhere.parameters())
    optimiser_state.restore_state(elsewhere, restored, kept)
    assert len(kept) == (6 if isinstance(config, Adam) else 2)
    assert {value.device.type for state in restored.state.values() for value in state.values()} == {"meta"}


def test_each_factor_has_a_group_and_frozen_parameters_are_left_out() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    factors = {"0.weight": 0.0, "0.bias": 0.0, "1.weight": 0.1, "2.bias": 0.1}
    optimiser = optimiser_state.build_optimiser(network, SGD(momentum=0.9), factors)
    optimiser_state.set_rate(optimiser, 2.0)
    groups = [(group["lr"], len(group["params"])) for group in optimiser.param_groups]
    assert groups == [(0.2, 2), (2.0, 2)]
    assert not {id(p) for p in network[0].parameters()} & {
        id(p) for p in optimiser_state.optimised_parameters(optimiser)
    }
