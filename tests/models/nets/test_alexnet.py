"""AlexNet: parameters by hand, the paper's maps, groups, order of layers, initial biases and torchvision's names."""

import pytest
import torch
from torch import nn

from imclass.models.foreign.published import PUBLISHED_WEIGHTS
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.nets.alexnet import NETS, AlexNet, Row
from tests.support.outline import count, outline, shapes

TINY = Row(size=67, widths=(4, 4, 8, 8, 4), hidden=(6, 6), groups=2)


def by_hand(widths: tuple[int, ...], groups: int) -> int:
    """Count weights and biases; convolutions 2, 4 and 5 see only the maps of their group."""
    w1, w2, w3, w4, w5 = widths
    convolutions = (3 * 121 + 1) * w1 + (w1 // groups * 25 + 1) * w2 + (w2 * 9 + 1) * w3
    convolutions += (w3 // groups * 9 + 1) * w4 + (w4 // groups * 9 + 1) * w5
    return convolutions + (36 * w5 + 1) * 4096 + 4097 * 4096 + 4097 * 1000


@pytest.mark.parametrize(
    ("name", "widths", "groups", "known"),
    [
        ("alexnet", (64, 192, 384, 256, 256), 1, 61_100_840),
        ("alexnet-2012", (96, 256, 384, 384, 256), 2, 60_965_224),
        ("alexnet-2012-ungrouped", (96, 256, 384, 384, 256), 1, 62_378_344),
    ],
)
def test_parameters_are_those_of_the_layers_by_hand(
    name: str, widths: tuple[int, ...], groups: int, known: int
) -> None:
    assert count(outline(NETS[name])) == by_hand(widths, groups) == known == NETS[name].parameters


def test_maps_are_those_of_figure_2() -> None:
    found = shapes(outline(NETS["alexnet-2012"]))
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    channels, sides = (96, 96, 256, 256, 384, 384, 256, 256), (55, 27, 27, 13, 13, 13, 13, 6)
    assert [found[name] for name in names] == list(zip(channels, sides, strict=True))


def test_padding_gives_the_lectures_network_the_same_sides_at_224_pixels() -> None:
    found = shapes(outline(NETS["alexnet"]))
    assert [found[f"conv{n}"] for n in range(1, 6)] == [(64, 55), (192, 27), (384, 13), (256, 13), (256, 13)]
    assert found["pool5"] == (256, 6)


def test_without_padding_224_pixels_would_give_other_maps() -> None:
    with torch.device("meta"):
        network = AlexNet(Row(size=224))
    assert shapes(network)["conv1"] == (96, 54)


def test_normalisation_follows_the_first_two_relus() -> None:
    children = [name for name, _ in outline(NETS["alexnet-2012"]).features.named_children()]
    assert children[:8] == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"]
    assert children[8:] == ["conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"]
    norms = [m for m in outline(NETS["alexnet-2012"]).modules() if isinstance(m, LocalResponseNorm)]
    assert [(m.n, m.k, m.alpha, m.beta) for m in norms] == [(5, 2.0, 1e-4, 0.75)] * 2
    assert not any(isinstance(m, LocalResponseNorm) for m in outline(NETS["alexnet"]).modules())


def test_dropout_is_after_hidden_layers_in_2012_and_before_them_in_the_lecture() -> None:
    kinds = [type(m) for m in outline(NETS["alexnet-2012"]).head]
    assert kinds == [nn.Flatten, nn.Linear, nn.ReLU, Dropout, nn.Linear, nn.ReLU, Dropout, nn.Linear]
    kinds = [type(m) for m in outline(NETS["alexnet"]).head]
    assert kinds == [nn.Flatten, Dropout, nn.Linear, nn.ReLU, Dropout, nn.Linear, nn.ReLU, nn.Linear]
    rates = [m.p for entry in NETS.values() for m in outline(entry).modules() if isinstance(m, Dropout)]
    assert rates == [0.5] * 6


@pytest.mark.parametrize("groups", [1, 2])
def test_a_group_of_convolution_2_does_not_see_the_maps_of_the_other(groups: int) -> None:
    """Groups are the two towers of figure 2; without groups every output sees all maps."""
    torch.manual_seed(0)
    layer = AlexNet(Row(67, TINY.widths, TINY.hidden, groups=groups)).features.get_submodule("conv2")
    maps = torch.rand(1, 4, 7, 7)
    changed = maps.clone()
    changed[:, :2] += 1
    before = layer(maps)
    moved = (layer(changed) - before).abs().amax((0, 2, 3)) > 1e-5 * before.square().mean().sqrt()
    assert moved.tolist() == [True, True, groups == 1, groups == 1]


def test_initial_weights_are_those_of_section_5() -> None:
    torch.manual_seed(0)
    network = AlexNet(Row(size=67, hidden=(64, 64)))
    biases = {name.split(".")[1]: p for name, p in network.named_parameters() if name.endswith("bias")}
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert {name for name, bias in biases.items() if (bias == 1).all()} == ones
    assert {name for name, bias in biases.items() if (bias == 0).all()} == set(biases) - ones
    for name, weight in network.named_parameters():
        if name.endswith("weight"):
            assert weight.std().item() == pytest.approx(0.01, rel=0.05), name


@pytest.mark.parametrize(("padding", "least"), [(0, 67), (2, 63)])
def test_a_size_that_leaves_nothing_is_refused(padding: int, least: int) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=f"the smallest that works is {least}"):
        AlexNet(Row(least - 1, TINY.widths, TINY.hidden, padding))
    network = AlexNet(Row(least, TINY.widths, TINY.hidden, padding), 3).eval()
    assert network(torch.zeros(1, 3, least, least)).shape == (1, 3)


def test_names_are_those_of_torchvision() -> None:
    foreign = NETS["alexnet"].foreign["torchvision"]
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    ours = [name for name, _ in outline(NETS["alexnet"]).named_parameters()]
    assert [foreign.rename(name) for name in ours] == [f"{x}.{leaf}" for x in layers for leaf in ("weight", "bias")]


def test_the_errors_are_those_of_the_weights_of_torchvision() -> None:
    errors, file = NETS["alexnet"].result, PUBLISHED_WEIGHTS["alexnet:torchvision"]
    assert errors is not None and file.top5 is not None
    assert (errors.top1, errors.top5) == (round(100 - file.top1, 2), round(100 - file.top5, 2))
