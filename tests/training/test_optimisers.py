"""Optimisers against plain numpy loops of their update rules, and their state across a save."""

from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from imclass.core.config import Optimiser
from imclass.training import optimisers


def trajectory(config: Optimiser, steps: int) -> np.ndarray:
    """A weight under the gradients 1/1, 1/2, 1/3 ... and rate 0.1."""
    network = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(network.weight, 2.0)
    optimiser = optimisers.build(network, config)
    found = []
    for t in range(1, steps + 1):
        network.weight.grad = torch.full_like(network.weight, 1 / t)
        optimisers.set_rate(optimiser, 0.1)
        optimiser.step()
        found.append(network.weight.item())
    return np.array(found)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_sgd_with_momentum(nesterov: bool, decay: float) -> None:
    w, v, expected = 2.0, 0.0, []
    for t in range(1, 8):
        g = 1 / t + decay * w
        v = 0.9 * v + g
        w -= 0.1 * (g + 0.9 * v if nesterov else v)
        expected.append(w)
    found = trajectory(Optimiser("sgd", momentum=0.9, nesterov=nesterov, weight_decay=decay), 7)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_adam() -> None:
    w, m, s, expected = 2.0, 0.0, 0.0, []
    for t in range(1, 8):
        g = 1 / t + 0.01 * w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        expected.append(w)
    np.testing.assert_allclose(trajectory(Optimiser("adam", weight_decay=0.01), 7), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_state_survives_a_save(name: str) -> None:
    """Ten steps equal five, a move of the state into a fresh optimiser, and five; not so without the state."""

    def run(config: Optimiser, moved: bool, kept: bool) -> torch.Tensor:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        optimiser = optimisers.build(network, config)
        for t in range(10):
            if t == 5 and moved:
                state = {k: v.clone() for k, v in optimisers.state(network, optimiser).items()}
                optimiser = optimisers.build(network, config)
                optimisers.restore(network, optimiser, state if kept else {})
            optimiser.zero_grad()
            network(torch.full((2, 3), float(t))).square().sum().backward()
            optimisers.set_rate(optimiser, 1e-3)
            optimiser.step()
        return dict(network.named_parameters())["0.weight"].detach()

    config = Optimiser(name, momentum=0.9)  # type: ignore[arg-type]
    whole = run(config, False, False)
    assert torch.equal(whole, run(config, True, True))
    assert not torch.equal(whole, run(config, True, False))


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_all_that_is_restored_is_where_its_parameter_is(name: Literal["sgd", "adam"]) -> None:
    """The count of Adam's steps too, which fused steps on a GPU refuse on the CPU; "meta" stands for the GPU."""
    network = nn.Conv2d(3, 4, 3)
    optimiser = optimisers.build(network, Optimiser(name))
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    optimiser.step()
    kept = optimisers.state(network, optimiser)
    elsewhere = nn.Conv2d(3, 4, 3, device="meta")
    restored = torch.optim.Adam(elsewhere.parameters()) if name == "adam" else torch.optim.SGD(elsewhere.parameters())
    optimisers.restore(elsewhere, restored, kept)
    assert len(kept) == (6 if name == "adam" else 2)
    assert {value.device.type for state in restored.state.values() for value in state.values()} == {"meta"}
