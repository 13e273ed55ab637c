"""Inception-ResNet-v2: the released network's layers by hand, scaled residuals, timm's names."""

import pytest
import torch
from torch import nn

from imclass.models.entry import PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.nets.inception_resnet import NETS, InceptionResNet, Residual, Row
from imclass.models.network import Network
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

Layers = list[tuple[int, int, int]]  # maps in, elements of the kernel, maps out
STEM: Layers = [(3, 9, 32), (32, 9, 32), (32, 9, 64), (64, 1, 80), (80, 9, 192)]
MIXED_5B: Layers = [(192, 1, 96), (192, 1, 48), (48, 25, 64), (192, 1, 64), (64, 9, 96), (96, 9, 96), (192, 1, 64)]
BLOCK_35: Layers = [(320, 1, 32), (320, 1, 32), (32, 9, 32), (320, 1, 32), (32, 9, 48), (48, 9, 64)]
MIXED_6A: Layers = [(320, 9, 384), (320, 1, 256), (256, 9, 256), (256, 9, 384)]
BLOCK_17: Layers = [(1088, 1, 192), (1088, 1, 128), (128, 7, 160), (160, 7, 192)]
MIXED_7A: Layers = [(1088, 1, 256), (256, 9, 384), (1088, 1, 256), (256, 9, 288)]
MIXED_7A += [(1088, 1, 256), (256, 9, 288), (288, 9, 320)]
BLOCK_8: Layers = [(2080, 1, 192), (2080, 1, 192), (192, 3, 224), (224, 3, 256)]
LAYERS = STEM + MIXED_5B + BLOCK_35 * 10 + MIXED_6A + BLOCK_17 * 20 + MIXED_7A + BLOCK_8 * 10 + [(2080, 1, 1536)]
LINEAR: Layers = [(128, 1, 320)] * 10 + [(384, 1, 1088)] * 20 + [(448, 1, 2080)] * 10  # with biases, no batch norm


@pytest.fixture(scope="module")
def full() -> Network:
    return outline(NETS["inception-resnet-v2"])


def residuals(network: Network) -> list[Residual]:
    return [m for m in network.modules() if isinstance(m, Residual)]


def test_parameters_are_those_of_the_layers_by_hand(full: Network) -> None:
    expected = sum((a * kernel + 2) * b for a, kernel, b in LAYERS) + sum((a + 1) * b for a, _, b in LINEAR)
    expected += 1537 * 1000
    assert count(full) == expected == NETS["inception-resnet-v2"].parameters == 55_843_464


def test_maps_are_35_17_and_8_pixels_wide(full: Network) -> None:
    found = shapes(full)
    names = ("conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b", "repeat")
    assert [found[n] for n in names] == [(64, 147), (64, 73), (80, 73), (192, 71), (192, 35), (320, 35), (320, 35)]
    later = ("mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8", "conv2d_7b")
    assert [found[n] for n in later] == [(1088, 17)] * 2 + [(2080, 8)] * 3 + [(1536, 8)]


def test_there_are_10_20_and_10_blocks_with_their_scales(full: Network) -> None:
    assert [m.scale for m in residuals(full)] == [0.17] * 10 + [0.10] * 20 + [0.20] * 9 + [1.0]
    assert [type(m.relu) for m in residuals(full)] == [nn.ReLU] * 39 + [nn.Identity]
    assert all(m.conv2d.bias is not None for m in residuals(full))


def test_the_number_of_blocks_is_in_the_row() -> None:
    with torch.device("meta"):
        network = InceptionResNet(Row(width=0.125, blocks=(5, 10, 5)), 3)  # as in figure 15
    assert [m.scale for m in residuals(network)] == [0.17] * 5 + [0.10] * 10 + [0.20] * 4 + [1.0]


@pytest.mark.parametrize(("name", "w_in", "last"), [("repeat.0", 40, False), ("block8", 260, True)])
def test_a_block_adds_its_scaled_residual(name: str, w_in: int, last: bool) -> None:
    torch.manual_seed(0)
    network = InceptionResNet(Row(size=75, width=0.125, blocks=(1, 1, 1)), 3).eval()
    block = network.features.get_submodule(name)
    assert isinstance(block, Residual)
    maps = torch.randn(2, w_in, 5, 5)
    before = maps.clone()
    parts = torch.cat([branch(maps) for branch in block.branches.children()], 1)
    expected = maps + block.scale * block.conv2d(parts)
    assert_near(block(maps), expected if last else expected.relu())
    assert torch.equal(maps, before)
    assert (block(maps) < 0).any().item() is last
    nn.init.zeros_(block.conv2d.weight)
    assert block.conv2d.bias is not None
    nn.init.zeros_(block.conv2d.bias)
    assert torch.equal(block(maps), maps if last else maps.relu())


def test_the_head_has_a_mean_over_8_by_8_and_dropout_of_a_fifth(full: Network) -> None:
    assert [type(m) for m in full.head] == [nn.AvgPool2d, Dropout, nn.Flatten, nn.Linear]
    assert (full.head[0].kernel_size, full.head[1].p) == (8, 0.2)
    assert full.sides.keys() == set()
    assert not any(m.count_include_pad for m in full.features.modules() if isinstance(m, nn.AvgPool2d))


def test_weights_begin_by_glorots_rule() -> None:
    torch.manual_seed(0)
    for layer in InceptionResNet(Row(75, 0.125, (1, 1, 1)), 3).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = (6 / (layer.weight[0].numel() + layer.weight[:, 0].numel())) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is None or (layer.bias == 0).all()


def test_timm_names_tensors_by_branch(full: Network) -> None:
    rename = NETS["inception-resnet-v2"].foreign["timm"].rename
    state = {name: t for name, t in full.state_dict().items() if name not in ("mean", "std")}
    theirs = {rename(name): tuple(t.shape) for name, t in state.items()}
    assert len(theirs) == len(state)
    assert theirs["conv2d_1a.conv.weight"] == (32, 3, 3, 3)
    assert theirs["mixed_5b.branch3.1.bn.weight"] == (64,)
    assert theirs["repeat.9.branch2.2.conv.weight"] == (64, 48, 3, 3)
    assert theirs["repeat_1.19.branch1.1.conv.weight"] == (160, 128, 1, 7)
    assert theirs["repeat_2.8.conv2d.bias"] == theirs["block8.conv2d.bias"] == (2080,)
    assert theirs["block8.branch1.2.conv.weight"] == (256, 224, 3, 1)
    assert theirs["classif.weight"] == (1000, 1536)
    assert not any(name.startswith("repeat_2.9") for name in theirs)


def test_sizes_down_to_75_work() -> None:
    assert InceptionResNet(Row(75, 0.125, (1, 1, 1)), 3).eval()(torch.rand(1, 3, 75, 75)).shape == (1, 3)
    with pytest.raises(ValueError, match="size is 74, but the smallest that works is 75"):
        InceptionResNet(Row(74, 0.125, (1, 1, 1)), 3)


def test_the_errors_are_those_of_the_paper() -> None:
    assert NETS["inception-resnet-v2"].result == PaperResult(19.9, 4.9, "1 crop, without blacklisted images")
