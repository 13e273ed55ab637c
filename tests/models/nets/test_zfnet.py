"""ZFNet: parameters by hand, and the maps of figure 3, which need pooling that rounds up."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.nets.zfnet import NETS, Row, ZFNet
from tests.support.outline import count, outline, shapes


@pytest.mark.parametrize(
    ("name", "deep", "known"), [("zfnet-a", (384, 384, 256), 62_357_608), ("zfnet-b", (512, 1024, 512), 107_627_624)]
)
def test_parameters_are_those_of_the_layers_by_hand(name: str, deep: tuple[int, int, int], known: int) -> None:
    w3, w4, w5 = deep
    convolutions = (3 * 49 + 1) * 96 + (96 * 25 + 1) * 256 + (256 * 9 + 1) * w3 + (w3 * 9 + 1) * w4 + (w4 * 9 + 1) * w5
    linear = (36 * w5 + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    assert count(outline(NETS[name])) == convolutions + linear == known == NETS[name].parameters


def test_maps_are_those_of_figure_3() -> None:
    found = shapes(outline(NETS["zfnet-a"]))
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    channels, sides = (96, 96, 256, 256, 384, 384, 256, 256), (110, 55, 26, 13, 13, 13, 13, 6)
    assert [found[name] for name in names] == list(zip(channels, sides, strict=True))
    found = shapes(outline(NETS["zfnet-b"]))
    assert [found[f"conv{n}"] for n in (3, 4, 5)] == [(512, 13), (1024, 13), (512, 13)]


def test_pooling_that_rounds_down_would_give_other_maps() -> None:
    network = outline(NETS["zfnet-a"])
    for layer in network.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = False
    found = shapes(network)
    assert [found[name][1] for name in ("pool1", "conv2", "pool2", "pool5")] == [54, 25, 12, 5]


def test_contrast_normalisation_follows_the_first_two_poolings() -> None:
    network = outline(NETS["zfnet-a"])
    children = [name for name, _ in network.features.named_children()]
    assert children[:8] == ["conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"]
    assert sum(isinstance(m, LocalResponseNorm) for m in network.modules()) == 2
    assert [name for name, _ in network.head.named_children()][1:] == [
        "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8",
    ]  # fmt: skip


def test_weights_begin_with_a_std_of_a_hundredth_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    for name, p in ZFNet(Row(size=95, hidden=(32, 32))).named_parameters():
        assert p.std().item() == pytest.approx(0.0 if name.endswith("bias") else 0.01, rel=0.05), name


def test_a_size_that_leaves_nothing_is_refused() -> None:
    row = Row(size=62, widths=(4, 4, 4, 4, 4), hidden=(4, 4))
    with pytest.raises(ValueError, match="size is 62, but the smallest that works is 63"):
        ZFNet(row)
    assert ZFNet(replace(row, size=63), 3).eval()(torch.zeros(1, 3, 63, 63)).shape == (1, 3)
