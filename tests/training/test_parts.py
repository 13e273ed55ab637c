"""Steps of one part, which equal plain PyTorch to the bit, and of several, which are a tree sum."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.randomness import part_seed
from imclass.data.catalog import open_split
from imclass.models.network import Network
from imclass.store.context import open_context
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import StepEnd
from imclass.training.keeper import Keeper
from imclass.training.loop import train_epochs
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Leg
from tests.support.legs import enter_leg, leg_of, noise
from tests.support.small import tree
from tests.support.tolerance import assert_near

NARROW = {"widths": (8, 8, 16, 16, 16), "hidden": 16}
NETWORKS = {
    "lenet-5": ({}, 28, 1, "grey"),
    "resnet-cifar-20": ({}, 32, 3, "rgb"),
    "alexnet": ({"size": 95, "widths": (8, 24, 48, 32, 32), "hidden": (64, 64)}, 95, 3, "rgb"),
}


def leg_for(name: str, steps: int, **changes: int) -> Leg:
    """Return a leg of this number of steps of eight images."""
    row, side, channels, colour = NETWORKS[name]
    return leg_of(noise(8 * steps, side, channels), Model(name, dict(row)), side, colour, **changes)


def steps_of(leg: Leg, folder: Path) -> Iterator[tuple[StepEnd, Network]]:
    """Train a leg, and yield each step's event and the network after it."""
    state = enter_leg(leg)
    keeper = Keeper(folder, 1, Checkpoints(folder / "checkpoints"))
    for event in train_epochs(leg, state, SingleProcess(), keeper):
        if isinstance(event, StepEnd):
            yield event, state.learner.network


@pytest.mark.parametrize("name", NETWORKS)
def test_one_part_is_a_plain_loop_bit_for_bit(name: str, tmp_path: Path) -> None:
    leg = leg_for(name, 50)
    network = leg.make().network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3, fused=True)
    batches = leg.loader.batches(0)
    for step, (event, learner) in enumerate(steps_of(leg, tmp_path)):
        part = next(batches).parts[0]
        optimiser.zero_grad()
        torch.manual_seed(part_seed(0, step, 0))  # of dropout
        loss = functional.cross_entropy(network(part.images), torch.from_numpy(part.targets.numpy()))
        loss.backward()
        optimiser.step()
        assert event.main == pytest.approx(loss.item(), rel=1e-6)
        learned = learner
    assert step == 49
    ours, theirs = learned.state_dict(), network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def running(layers: list[_BatchNorm]) -> list[torch.Tensor]:
    """Return the running means and variances."""
    return [v for layer in layers for v in (layer.running_mean, layer.running_var) if v is not None]


@pytest.mark.parametrize("name", ["resnet-cifar-20", "alexnet"])
def test_four_parts_are_a_tree_sum(name: str, tmp_path: Path) -> None:
    """Compare with separate gradients of the parts, added as ((0 + 1) + (2 + 3)), and statistics moved once."""
    leg = leg_for(name, 6, micro_batches=4)
    network = leg.make().network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3, fused=True)
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    batches = leg.loader.batches(0)
    for step, (_, learner) in enumerate(steps_of(leg, tmp_path)):
        parts = next(batches).parts
        assert [len(part.targets) for part in parts.values()] == [2, 2, 2, 2]
        before = [value.clone() for value in running(layers)]
        each: list[list[torch.Tensor]] = []
        for n, part in parts.items():
            network.zero_grad()
            torch.manual_seed(part_seed(0, step, n))
            for layer in layers:
                layer.momentum = 1.0  # the running statistics become the part's
            labels = torch.from_numpy(part.targets.numpy())
            (functional.cross_entropy(network(part.images), labels, reduction="sum") / 8).backward()
            gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
            each.append(gradients + [0.25 * value for value in running(layers)])
        total = [(a + b) + (c + d) for a, b, c, d in zip(*each, strict=True)]
        for parameter, value in zip(network.parameters(), total, strict=False):
            parameter.grad = value
        optimiser.step()
        for value, old, mean in zip(running(layers), before, total[len(list(network.parameters())) :], strict=True):
            value.copy_(0.9 * old).add_(mean, alpha=0.1)
        for layer in layers:
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked.fill_(step + 1)
        learned = learner
    ours, theirs = learned.state_dict(), network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_batch_norm_limits_the_number_of_parts() -> None:
    """Cut 17 images into batches of 8. Batch norm allows neither a part of one image nor a last batch of one."""
    for name, sizes in (("resnet-cifar-20", [[2, 2, 2, 2], [3, 2, 2, 2]]), ("lenet-5", [[1] * 8, [1] * 8, [1]])):
        row, side, channels, colour = NETWORKS[name]
        leg = leg_of(noise(17, side, channels), Model(name, dict(row)), side, colour, micro_batches=8)
        found = [[len(part.targets) for part in batch.parts.values()] for batch in leg.loader.batches(0)]
        assert found == sizes and leg.steps == len(leg.loader) == len(sizes)


@pytest.fixture(params=[0, 2048], ids=["workers", "memory"])
def folders(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Leg, Leg]:
    """Make two legs over the same photos, one of which cannot be read in the second leg."""
    legs = []
    for bad in (False, True):
        photos = tree(tmp_path / str(bad) / "photos", per_class=16, side=32)
        if bad:
            (photos / "cat" / "003.png").write_text("no image")
        data = open_split(str(photos), "all", open_context())
        leg = leg_of(data, Model("vgg-bn-drop", NARROW), 32, batch=16, micro_batches=4)
        legs.append(leg)
    return legs[0], legs[1]


def test_a_refused_image_changes_no_other_part(folders: tuple[Leg, Leg]) -> None:
    """Compare the bits of all other parts: images, draws, scores and summed losses. Gradients differ by the divisor."""
    good, lacking = folders
    found = 0
    for one, other in zip(good.loader.batches(0), lacking.loader.batches(0), strict=True):
        states = enter_leg(good), enter_leg(lacking)
        for n, part in one.parts.items():
            if len(part.targets) != len(other.parts[n].targets):
                assert [Path(refused.path).name for refused in other.parts[n].refused] == ["003.png"]
                found += 1
                continue
            assert torch.equal(part.images, other.parts[n].images)
            assert np.array_equal(part.ids, other.parts[n].ids)
            sums = [
                s.learner.part_gradients(p[n], n, 1, 5, True)
                for s, p in zip(states, (one.parts, other.parts), strict=True)
            ]
            assert (sums[0].main, sums[0].correct) == (sums[1].main, sums[1].correct)
            pairs = zip(*([*each.values, *each.moments] for each in sums), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs if a is not None and b is not None)
            counts = sum(len(p.targets) for p in one.parts.values()), sum(len(p.targets) for p in other.parts.values())
            divided = states[0].learner.part_gradients(part, n, counts[0], 5, True).values
            others = states[1].learner.part_gradients(part, n, counts[1], 5, True).values
            a, b = (torch.cat([v.flatten() for v in values if v is not None]) for values in (divided, others))
            assert_near(a * counts[0], b * counts[1], within=1e-3)  # another divisor would be 6e-2
    assert found == 1


def test_a_part_of_one_image_is_left_out_and_named_under_batch_norm(tmp_path: Path) -> None:
    tree(tmp_path / "photos", per_class=8, side=32)
    bad = tmp_path / "photos" / "cat" / "003.png"
    bad.write_text("no image")
    data = open_split(str(tmp_path / "photos"), "all", open_context())
    leg = leg_of(data, Model("vgg-bn-drop", NARROW), 32, batch=8, micro_batches=4)
    events = [event for event, _ in steps_of(leg, tmp_path)]
    (step,) = (event for event in events if event.refused)
    assert len(step.alone) == 1 and step.images == 6 and (tmp_path / "photos" / step.alone[0]).is_file()
    assert all(event.alone == () and event.images == 8 for event in events if event is not step)


def test_batch_norm_needs_a_batch_of_two(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--batch 1 is too small: resnet-cifar-20 uses batch norm"):
        leg_of(noise(8, 32), Model("resnet-cifar-20"), 32, batch=1)
    assert isinstance(leg_of(noise(8, 28, 1), Model("lenet-5"), 28, "grey", batch=1).make().network, nn.Module)
