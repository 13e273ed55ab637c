"""OverFeat: parameters by hand, the maps of tables 1 and 3, pooling without overlap, the total stride."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.nets.overfeat import NETS, OverFeat, Row
from tests.support.outline import count, outline, shapes


def by_hand(layers: list[tuple[int, int, int]], features: int, hidden: tuple[int, int]) -> int:
    """Count weights and biases of convolutions (maps in, kernel, maps out) and fully connected layers."""
    sizes = (features, *hidden, 1000)
    convolutions = sum((a * k * k + 1) * b for a, k, b in layers)
    return convolutions + sum((a + 1) * b for a, b in pairwise(sizes))


def test_parameters_of_the_fast_network_are_those_of_its_layers() -> None:
    layers = [(3, 11, 96), (96, 5, 256), (256, 3, 512), (512, 3, 1024), (1024, 3, 1024)]
    known = by_hand(layers, 36 * 1024, (3072, 4096))
    assert count(outline(NETS["overfeat-fast"])) == known == NETS["overfeat-fast"].parameters
    assert round(known / 1e6, 1) == 145.9


def test_parameters_of_the_accurate_network_are_those_of_its_layers() -> None:
    layers = [(3, 7, 96), (96, 7, 256), (256, 3, 512), (512, 3, 512), (512, 3, 1024), (1024, 3, 1024)]
    known = by_hand(layers, 25 * 1024, (4096, 4096))
    assert count(outline(NETS["overfeat-accurate"])) == known == NETS["overfeat-accurate"].parameters
    assert int(known / 1e6) == 144  # the VGG paper's count, section 2.2


def test_maps_of_the_fast_network_are_those_of_table_1() -> None:
    found = shapes(outline(NETS["overfeat-fast"]))
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    channels, sides = (96, 96, 256, 256, 512, 1024, 1024, 1024), (56, 28, 24, 12, 12, 12, 12, 6)
    assert [found[name] for name in names] == list(zip(channels, sides, strict=True))


def test_maps_of_the_accurate_network_are_those_of_table_3() -> None:
    found = shapes(outline(NETS["overfeat-accurate"]))
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "conv6", "pool6")
    channels, sides = (96, 96, 256, 256, 512, 512, 1024, 1024, 1024), (108, 36, 30, 15, 15, 15, 15, 15, 5)
    assert [found[name] for name in names] == list(zip(channels, sides, strict=True))


@pytest.mark.parametrize(("name", "sides"), [("overfeat-fast", [2, 2, 2]), ("overfeat-accurate", [3, 2, 3])])
def test_pooling_does_not_overlap_and_nothing_normalises(name: str, sides: list[int]) -> None:
    network = outline(NETS[name])
    pools = [m for m in network.features if isinstance(m, nn.MaxPool2d)]
    assert [(m.kernel_size, m.stride) for m in pools] == [(side, side) for side in sides]
    assert not any(isinstance(m, LocalResponseNorm | nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize(("name", "stride"), [("overfeat-fast", 32), ("overfeat-accurate", 36)])
def test_a_map_grows_by_one_when_the_image_grows_by_the_stride(name: str, stride: int) -> None:
    network = outline(NETS[name])
    sides = [network.size + stride - 1, network.size + stride, network.size + 2 * stride]
    maps = [network.dense(torch.empty(1, 3, side, side, device="meta")) for side in sides]
    assert [tuple(m.shape) for m in maps] == [(1, 1000, n, n) for n in (1, 2, 3)]


def test_the_head_continues_the_numbers_of_the_convolutions() -> None:
    names = {name: [n for n, _ in outline(NETS[name]).head.named_children() if n.startswith("fc")] for name in NETS}
    assert names == {"overfeat-fast": ["fc6", "fc7", "fc8"], "overfeat-accurate": ["fc7", "fc8", "fc9"]}


def test_weights_begin_with_a_std_of_a_hundredth_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    row = Row(63, (32, 64), (7, 5), (4, 1), (0, 0), (2, 2), (64, 64))
    for name, p in OverFeat(row).named_parameters():
        assert p.std().item() == pytest.approx(0.0 if name.endswith("bias") else 0.01, rel=0.05), name


def test_a_size_that_leaves_nothing_is_refused() -> None:
    """The second convolution needs a side of 5, the pooling before it 10, and the first convolution 9 * 4 + 11."""
    with pytest.raises(ValueError, match="size is 46, but the smallest that works is 47"):
        OverFeat(Row(46, (4, 4), (11, 5), (4, 1), (0, 0), (2, 0), (4, 4)))
