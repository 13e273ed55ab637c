"""Running statistics in a step of several parts, which move once by the image-weighted means over the parts."""

import copy

import pytest
import torch
from torch import nn

from imclass.training import norms
from tests.support.tolerance import assert_near


def network() -> nn.Sequential:
    """Return two batch norms, the second after a convolution."""
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3, momentum=0.2), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()


def learn(trained: nn.Sequential, parts: list[torch.Tensor]) -> None:
    """Run a step of several parts without computing gradients."""
    layers = norms.tracked_norms(trained)
    images = sum(map(len, parts))
    with norms.isolate_statistics(layers):
        each = []
        for part in parts:
            trained(part)
            each.append(norms.moments(layers, len(part) / images))
    norms.move_statistics(layers, [torch.stack(values).sum(0) for values in zip(*each, strict=True)])


def test_statistics_move_by_the_weighted_means_of_the_parts() -> None:
    trained, parts = network(), list(torch.rand(7, 3, 6, 6).split([2, 5]))
    before = trained[0].running_mean.clone(), trained[0].running_var.clone()  # type: ignore[union-attr,operator]
    learn(trained, parts)
    means = [part.mean((0, 2, 3)) for part in parts]
    variances = [part.transpose(0, 1).flatten(1).var(1, unbiased=True) for part in parts]
    for at, (found, each) in enumerate(((trained[0].running_mean, means), (trained[0].running_var, variances))):
        wanted = 0.8 * before[at] + 0.2 * (2 * each[0] + 5 * each[1]) / 7
        assert_near(found, wanted, within=1e-6)  # type: ignore[arg-type]
    assert trained[0].num_batches_tracked == trained[2].num_batches_tracked == 1


def test_one_part_moves_them_as_pytorch_does() -> None:
    trained, images = network(), torch.rand(6, 3, 6, 6)
    plain = copy.deepcopy(trained)
    plain(images)
    learn(trained, [images])
    for name, value in plain.state_dict().items():
        assert_near(trained.state_dict()[name].float(), value.float(), within=1e-6)


def test_pytorch_alone_depends_on_the_order_of_the_parts_and_this_does_not() -> None:
    parts = list(torch.rand(6, 3, 6, 6).split(3))
    ours, theirs = [], []
    for order in (parts, parts[::-1]):
        trained, plain = network(), network()
        learn(trained, order)
        for part in order:
            plain(part)
        ours.append(trained[0].running_mean)
        theirs.append(plain[0].running_mean)
    assert torch.equal(ours[0], ours[1]) and not torch.equal(theirs[0], theirs[1])  # type: ignore[arg-type]


def test_statistics_and_momentum_are_restored_when_a_part_fails() -> None:
    trained = network()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    with pytest.raises(KeyboardInterrupt), norms.isolate_statistics(norms.tracked_norms(trained)):
        trained(torch.rand(2, 3, 6, 6))
        raise KeyboardInterrupt
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())
    assert trained[0].momentum == 0.2


def test_frozen_layers_do_not_move() -> None:
    trained = network()
    trained[0].eval()
    assert norms.tracked_norms(trained) == [trained[2]]


def test_a_cumulative_average_counts_its_steps() -> None:
    trained = nn.Sequential(nn.BatchNorm2d(3, momentum=None)).train()
    batches = [torch.rand(4, 3, 5, 5) for _ in range(3)]
    for images in batches:
        learn(trained, list(images.split(2)))
    wanted = torch.stack([images.mean((0, 2, 3)) for images in batches]).mean(0)
    assert_near(trained[0].running_mean, wanted, within=1e-6)  # type: ignore[arg-type]


def test_networks_with_batch_norm_are_recognised() -> None:
    assert norms.has_batch_norm(network()) and not norms.has_batch_norm(nn.Linear(2, 2))
