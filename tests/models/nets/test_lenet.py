"""LeNet-5 has the published number of parameters, trains all of them, and varies by its row."""

import pytest
import torch
from torch.nn import functional

from imclass.models.nets.lenet import NETS, LeNet, Row


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def by_hand(size: int, w1: int = 6, w2: int = 16, h1: int = 120, h2: int = 84, k: int = 10) -> int:
    """Count weights and biases of two 5 x 5 convolutions and three fully connected layers."""
    side = ((size - 4) // 2 - 4) // 2
    return (25 + 1) * w1 + (25 * w1 + 1) * w2 + (side * side * w2 + 1) * h1 + (h1 + 1) * h2 + (h2 + 1) * k


@pytest.mark.parametrize(("name", "published"), [("lenet-5", 44_426), ("lenet-5-32", 61_706)])
def test_parameters_are_as_published(name: str, published: int) -> None:
    entry = NETS[name]
    assert entry.parameters == published == by_hand(entry.row.size)
    assert parameters(entry.build(entry.row, entry.classes, entry.w_in)) == published


def test_entries_have_year_classes_and_channels() -> None:
    for entry in NETS.values():
        assert (entry.year, entry.classes, entry.w_in) == (1998, 10, 1)


def test_a_row_can_make_a_narrow_copy() -> None:
    row = Row(size=20, widths=(2, 3), hidden=(5, 4))
    assert parameters(LeNet(row, 7)) == by_hand(20, 2, 3, 5, 4, 7)


@pytest.mark.parametrize("size", [16, 17, 20, 28, 32, 47])
def test_every_native_size_works(size: int) -> None:
    network = LeNet(Row(size=size)).eval()
    assert network(torch.zeros(1, 1, size, size)).shape == (1, 10)


@pytest.mark.parametrize("size", [-1, 5, 10, 15])
def test_a_size_that_leaves_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size is {size}"):
        LeNet(Row(size=size))


def test_the_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    network = LeNet(Row())
    functional.cross_entropy(network(torch.rand(8, 1, 28, 28)), torch.arange(8)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_an_unused_parameter_would_be_noticed() -> None:
    network = LeNet(Row())
    network.register_parameter("spare", torch.nn.Parameter(torch.ones(1)))
    functional.cross_entropy(network(torch.rand(2, 1, 28, 28)), torch.arange(2)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == ["spare"]


def test_it_can_memorise_eight_images() -> None:
    torch.manual_seed(0)
    network, images, labels = LeNet(Row()), torch.rand(8, 1, 28, 28), torch.arange(8)
    network.normalise((0.5,), (0.3,))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()
    assert (network(images).argmax(1) == labels).all()
