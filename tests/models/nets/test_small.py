"""The small network for photos has the stated cost, begins as the identity and takes any multiple of 32 pixels."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from imclass.models.layers.residual import BasicBlock
from imclass.models.nets.small import NETS, Row, SmallResNet

NARROW = Row(size=64, stem=4, widths=(4, 6, 8, 10), blocks=(2, 1, 1, 1))


def multiply_adds(network: SmallResNet) -> int:
    """Return the multiply-adds for one image: outputs times weights per output of all layers with weights."""
    found: list[int] = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(layer.weight, torch.Tensor)
        found.append(output[0].numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network.eval()(torch.zeros(1, 3, network.size, network.size))
    return sum(found)


def test_it_is_small() -> None:
    entry = NETS["small-resnet"]
    network = SmallResNet(entry.row)
    assert sum(p.numel() for p in network.parameters()) == entry.parameters == 2_801_818
    assert 100e6 < multiply_adds(network) < 150e6


def test_blocks_begin_as_their_shortcuts() -> None:
    network, maps = SmallResNet(NARROW).eval(), torch.rand(2, 4, 6, 6)
    blocks = [layer for layer in network.features if isinstance(layer, BasicBlock)]  # type: ignore[attr-defined]
    assert len(blocks) == 5
    assert [block.residual[-1].get_parameter("weight").abs().sum().item() for block in blocks] == [0] * 5
    assert torch.equal(blocks[0](maps), maps)


@pytest.mark.parametrize("size", [32, 64, 96, 160])
def test_every_multiple_of_32_works(size: int) -> None:
    network = SmallResNet(Row(size, 4, (4, 6, 8, 10), (1, 1, 1, 1))).eval()
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 10)


@pytest.mark.parametrize("size", [-32, 0, 16, 33, 100])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size is {size}; it must be a multiple of 32"):
        SmallResNet(Row(size))


@pytest.mark.parametrize("side", [65, 70, 96, 101])
def test_dense_takes_larger_images_of_any_size(side: int) -> None:
    network = SmallResNet(NARROW).eval()
    positions = -(-side // 32) - 1  # the side of the maps is 1/32, rounded up, and the window has a side of 2
    assert network.dense(torch.rand(1, 3, side, side)).shape == (1, 10, positions, positions)


def test_it_can_memorise_eight_images() -> None:
    torch.manual_seed(0)
    network, images, labels = (
        SmallResNet(Row(32, 8, (8, 8, 16, 16), (1, 1, 1, 1))),
        torch.rand(8, 3, 32, 32),
        torch.arange(8),
    )
    network.normalise((0.5,), (0.3,))
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for _ in range(30):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    assert (network(images).argmax(1) == labels).all()
