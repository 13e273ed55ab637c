"""BN-Inception: figure 5 by hand in both readings of 4c and 4d, strides and poolings of its blocks, odd sizes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from imclass.models.entry import PaperResult
from imclass.models.layers.branches import Branches
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.nets.inception_bn import NETS, InceptionBN, Row
from tests.support.outline import count, outline, shapes

# 1x1; 3x3 reduce, 3x3; double 3x3 reduce, double 3x3; pool projection, or 0 for none.
FIGURE_5 = {
    "3a": (64, 64, 64, 64, 96, 32), "3b": (64, 64, 96, 64, 96, 64), "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128), "4b": (192, 96, 128, 96, 128, 128), "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128), "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128), "5b": (352, 192, 320, 192, 224, 128),
}  # fmt: skip
SIDES = {"3a": 28, "3b": 28, "3c": 14, "4a": 14, "4b": 14, "4c": 14, "4d": 14, "4e": 7, "5a": 7, "5b": 7}


def by_hand(projection: int) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return the parameters, with batch norm's two numbers per map, and each block's maps and side."""
    layers, maps, w_in = [(3, 49, 64), (64, 1, 64), (64, 9, 192)], {}, 192
    for name, (one, reduce3, three, reduce_double, double, pool) in FIGURE_5.items():
        pool = projection if name in ("4c", "4d") else pool
        layers += [(w_in, 1, one), (w_in, 1, reduce3), (reduce3, 9, three), (w_in, 1, pool)]
        layers += [(w_in, 1, reduce_double), (reduce_double, 9, double), (double, 9, double)]
        w_in = one + three + double + (pool or w_in)
        maps[name] = (w_in, SIDES[name])
    return sum((a * kernel + 2) * b for a, kernel, b in layers) + (w_in + 1) * 1000, maps


@pytest.mark.parametrize(
    ("name", "projection", "known", "wide"),
    [("inception-bn", 96, 11_194_984, 576), ("inception-bn-128", 128, 11_285_224, 608)],
)
def test_parameters_and_maps_are_those_of_figure_5_by_hand(name: str, projection: int, known: int, wide: int) -> None:
    network = outline(NETS[name])
    parameters, maps = by_hand(projection)
    assert count(network) == parameters == known == NETS[name].parameters
    found = shapes(network)
    assert {block: found[f"inception{block}"] for block in FIGURE_5} == maps
    assert maps["4c"][0] == maps["4d"][0] == wide
    assert [found[name] for name in ("conv1", "pool1", "conv3", "pool2")] == [(64, 112), (64, 56), (192, 56), (192, 28)]


def blocks(features: nn.Sequential) -> dict[str, nn.Module]:
    return {name: features.get_submodule(f"inception{name}") for name in FIGURE_5}


def test_only_3c_and_4e_have_a_stride_and_they_and_5b_have_max_pooling() -> None:
    strides, maxima, widths = [], [], []
    for name, block in blocks(outline(NETS["inception-bn"]).features).items():
        strides += [name] if any(isinstance(m, nn.Conv2d) and m.stride == (2, 2) for m in block.modules()) else []
        maxima += [name] if any(isinstance(m, nn.MaxPool2d) for m in block.modules()) else []
        widths += [name] if isinstance(block, Branches) and len(block) == 3 else []
    assert strides == widths == ["3c", "4e"]
    assert maxima == ["3c", "4e", "5b"]


def test_every_convolution_has_batch_norm_and_other_parts_of_googlenet_are_absent() -> None:
    network = outline(NETS["inception-bn"])
    kinds = [type(m) for m in network.modules()]
    assert kinds.count(nn.Conv2d) == kinds.count(nn.BatchNorm2d) == kinds.count(nn.ReLU) == 3 + 8 * 7 + 2 * 5
    assert not {LocalResponseNorm, Dropout} & set(kinds)
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))
    assert {m.kernel_size[0] for m in network.modules() if isinstance(m, nn.Conv2d)} == {7, 1, 3}
    assert network.sides.keys() == set()


@pytest.mark.parametrize("size", [32, 97, 100])
def test_maps_of_odd_sides_fit_together(size: int) -> None:
    network = InceptionBN(Row(size=size, width=0.125), 5).eval()
    assert network(torch.rand(1, 3, size, size)).shape == (1, 5)


def test_pooling_padded_unlike_the_convolutions_would_not_fit_odd_sides() -> None:
    network = InceptionBN(Row(size=97, width=0.125), 5).eval()
    block = network.features.get_submodule("inception3c")
    maps = torch.rand(1, 40, 13, 13)
    assert block(maps).shape[2:] == (7, 7)
    block.register_module("branch4", nn.MaxPool2d(3, 2, ceil_mode=True))
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        block(maps)


def test_a_size_below_the_smallest_is_refused() -> None:
    assert InceptionBN(Row(size=7, width=0.125), 5).eval()(torch.rand(1, 3, 7, 7)).shape == (1, 5)
    with pytest.raises(ValueError, match="size is 6, but the smallest that works is 7"):
        InceptionBN(replace(Row(), size=6, width=0.125), 5)


def test_convolutions_begin_with_variance_two_over_fan_in() -> None:
    torch.manual_seed(0)
    for layer in InceptionBN(Row(size=32, width=0.25), 5).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 1000:
            assert layer.weight.var().item() == pytest.approx(2 / layer.weight[0].numel(), rel=0.25)


def test_the_errors_are_those_of_the_paper() -> None:
    assert NETS["inception-bn"].result == PaperResult(25.2, 7.82, "1 crop")
