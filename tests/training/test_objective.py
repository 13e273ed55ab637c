"""One step: micro-batches that sum to the whole, and dropout that follows seed, step and part."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from imclass.models.layers.dropout import Dropout
from imclass.models.nets.googlenet import NETS, GoogLeNet
from imclass.training import objective
from tests.support.tolerance import assert_near


def test_micro_batches_sum_to_the_whole_batch() -> None:
    """Without dropout the gradient of 3 uneven parts is that of the whole, weighted by images."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).double()
    images, labels = torch.rand(7, 3, 2, 2, dtype=torch.float64), torch.arange(7) % 3
    found = []
    for parts in (1, 3):
        loss, correct = objective.backward(network, images, labels, parts, seed=0, step=0)
        assert loss.main == loss.total  # there are no auxiliary heads
        found.append((loss.main, correct, network[1].weight.grad.clone()))  # type: ignore[operator,union-attr]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6) and found[0][1] == found[1][1]  # losses are float32
    assert_near(found[0][2], found[1][2], within=1e-6)


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_the_main_loss_is_told_from_what_auxiliary_heads_add(micro_batches: int) -> None:
    """The oracle is PyTorch by hand; gradients are those of the total, as they were before the parts were told."""
    torch.manual_seed(0)
    network = GoogLeNet(replace(NETS["googlenet"].row, size=80, width=0.125), 5).train()
    for layer in network.modules():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    images, labels = torch.rand(7, 3, 80, 80), torch.arange(7) % 5
    losses = [functional.cross_entropy(scores, labels) for scores in network(images)]
    total = losses[0] + network.side_weight * (losses[1] + losses[2])
    total.backward()
    expected = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    loss, _ = objective.backward(network, images, labels, micro_batches, seed=0, step=0)
    assert loss.main == pytest.approx(losses[0].item(), rel=1e-5)
    assert loss.total == pytest.approx(total.item(), rel=1e-5)
    assert loss.auxiliary == pytest.approx(total.item() - losses[0].item(), rel=1e-4) and loss.auxiliary > 0.5
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert_near(parameter.grad, expected[name], within=1e-4)


def test_dropout_follows_seed_step_and_part() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(12, 3))
    images, labels = torch.rand(8, 3, 2, 2), torch.arange(8) % 3

    def gradient(seed: int, step: int) -> torch.Tensor:
        objective.backward(network, images, labels, 2, seed, step)
        return next(network.parameters()).grad.clone()  # type: ignore[operator,union-attr]

    first = gradient(0, 5)
    torch.rand(3)  # whoever else draws meanwhile
    assert torch.equal(first, gradient(0, 5))
    assert not torch.equal(first, gradient(0, 6)) and not torch.equal(first, gradient(1, 5))
