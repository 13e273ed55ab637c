"""The PaddlePaddle book's VGG: parameters by hand, order of layers, dropout rates, sizes and initial weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from imclass.models.layers.dropout import Dropout
from imclass.models.nets.vgg_bn_drop import NETS, Row, VGGBNDrop
from tests.support.tolerance import assert_near

NARROW = Row(widths=(4, 4, 6, 6, 8), hidden=12)
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.fixture(scope="module")
def full() -> VGGBNDrop:
    entry = NETS["vgg-bn-drop"]
    with torch.device("meta"):
        network = entry.build(entry.row, 10, 3)
    assert isinstance(network, VGGBNDrop)
    return network


def of_kind(network: nn.Module, *kinds: type) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def test_parameters_are_those_of_the_layers_by_hand(full: VGGBNDrop) -> None:
    convolutions = sum((9 * a + 1 + 2) * b for a, b in zip((3, *WIDTHS), WIDTHS, strict=False))
    linear = 2 * (512 + 1) * 512 + 2 * 512 + (512 + 1) * 10
    assert sum(p.numel() for p in full.parameters()) == convolutions + linear == 15_254_602
    assert NETS["vgg-bn-drop"].parameters == 15_254_602


def test_without_biases_there_would_be_fewer_parameters(full: VGGBNDrop) -> None:
    biases = sum(layer.bias.numel() for layer in of_kind(full, nn.Conv2d))  # type: ignore[operator, misc]
    assert 15_254_602 - biases == 15_250_378


def test_layers_are_in_the_published_order(full: VGGBNDrop) -> None:
    letters = {nn.Conv2d: "C", nn.BatchNorm2d: "B", nn.ReLU: "R", Dropout: "D", nn.MaxPool2d: "P"}
    two, three = "CBRDCBRP", "CBRDCBRDCBRP"
    assert "".join(letters[type(layer)] for layer in full.features) == two * 2 + three * 3  # type: ignore[attr-defined]
    kinds = [nn.Flatten, Dropout, nn.Linear, nn.BatchNorm1d, nn.ReLU, Dropout, nn.Linear, nn.Linear]
    assert [type(layer) for layer in full.head] == kinds
    assert len(of_kind(full, nn.BatchNorm2d, nn.BatchNorm1d)) == 14
    assert len(of_kind(full, nn.Conv2d, nn.Linear)) == 16


def test_dropout_rates_are_those_of_the_book(full: VGGBNDrop) -> None:
    rates = [layer.p for layer in of_kind(full, Dropout)]
    assert rates == [0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.5, 0.5]


def test_maps_shrink_to_one_pixel() -> None:
    network, maps, sides = VGGBNDrop(NARROW).eval(), torch.zeros(2, 3, 32, 32), []
    for layer in network.features:  # type: ignore[attr-defined]
        maps = layer(maps)
        if isinstance(layer, nn.MaxPool2d):
            sides.append(maps.shape[2])
    assert sides == [16, 8, 4, 2, 1]
    assert maps.shape == (2, 8, 1, 1)
    assert network.head(maps).softmax(1).sum(1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(("size", "side"), [(32, 1), (63, 1), (64, 2)])
def test_other_sizes_work(size: int, side: int) -> None:
    network = VGGBNDrop(replace(NARROW, size=size)).eval()
    assert network.head[2].get_parameter("weight").shape == (12, 8 * side**2)
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 10)


@pytest.mark.parametrize("size", [-1, 0, 31])
def test_a_size_that_leaves_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size is {size}, but the smallest that works is 32"):
        VGGBNDrop(replace(NARROW, size=size))


def test_convolutions_begin_with_variance_two_over_fan_in() -> None:
    torch.manual_seed(0)
    for layer in of_kind(VGGBNDrop(Row(widths=(16, 32, 64, 64, 64))), nn.Conv2d)[2:]:
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        assert layer.weight.var().item() == pytest.approx(2 / (9 * layer.in_channels), rel=0.1)
        assert (layer.bias == 0).all()


def test_dense_of_a_larger_image_is_the_head_at_each_position() -> None:
    """32 pixels give maps of one pixel and 64 give 2 x 2, each scored by the head as `forward` scores one."""
    torch.manual_seed(0)
    network, images = VGGBNDrop(NARROW).eval(), torch.rand(2, 3, 64, 64)
    maps, dense = network.features(network.prepare(images)), network.dense(images)
    assert dense.shape == (2, 10, 2, 2)
    for y in range(2):
        for x in range(2):
            assert_near(dense[:, :, y, x], network.head(maps[:, :, y : y + 1, x : x + 1]))


def test_it_can_memorise_eight_images() -> None:
    torch.manual_seed(0)
    network, images, labels = (
        VGGBNDrop(Row(widths=(16, 16, 16, 32, 32), hidden=32)),
        torch.rand(8, 3, 32, 32),
        torch.arange(8),
    )
    network.normalise((0.5,), (0.3,))
    for layer in of_kind(network, Dropout):
        layer.eval()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(30):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    assert (network(images).argmax(1) == labels).all()
