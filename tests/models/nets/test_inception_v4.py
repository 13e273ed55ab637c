"""Inception-v4: the released network's layers by hand, the order of its long kernels, timm's names."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from imclass.models.entry import PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.nets.inception_v4 import NETS, InceptionV4, Row
from imclass.models.network import Network
from tests.support.outline import count, outline, shapes

Layers = list[tuple[int, int, int]]  # maps in, elements of the kernel, maps out


def tower(w_in: int, *layers: tuple[int, int]) -> Layers:
    """Return the layers of a chain of (elements of the kernel, maps out)."""
    widths = [w_in, *[w for _, w in layers]]
    return [(a, kernel, b) for (a, b), (kernel, _) in zip(pairwise(widths), layers, strict=True)]


STEM = tower(3, (9, 32), (9, 32), (9, 64), (9, 96)) + tower(160, (1, 64), (9, 96))
STEM += tower(160, (1, 64), (7, 64), (7, 64), (9, 96)) + tower(192, (9, 192))
BLOCK_A = tower(384, (1, 96)) * 2 + tower(384, (1, 64), (9, 96)) + tower(384, (1, 64), (9, 96), (9, 96))
REDUCTION_A = tower(384, (9, 384)) + tower(384, (1, 192), (9, 224), (9, 256))
BLOCK_B = tower(1024, (1, 384)) + tower(1024, (1, 192), (7, 224), (7, 256)) + tower(1024, (1, 128))
BLOCK_B += tower(1024, (1, 192), (7, 192), (7, 224), (7, 224), (7, 256))
REDUCTION_B = tower(1024, (1, 192), (9, 192)) + tower(1024, (1, 256), (7, 256), (7, 320), (9, 320))
BLOCK_C = [*tower(1536, (1, 256)) * 2, *tower(1536, (1, 384), (3, 256)), (384, 3, 256)]
BLOCK_C += [*tower(1536, (1, 384), (3, 448), (3, 512), (3, 256)), (512, 3, 256)]
LAYERS = STEM + BLOCK_A * 4 + REDUCTION_A + BLOCK_B * 7 + REDUCTION_B + BLOCK_C * 3


@pytest.fixture(scope="module")
def full() -> Network:
    return outline(NETS["inception-v4"])


def test_parameters_are_those_of_the_layers_by_hand(full: Network) -> None:
    expected = sum((a * kernel + 2) * b for a, kernel, b in LAYERS) + 1537 * 1000
    assert count(full) == expected == NETS["inception-v4"].parameters == 42_679_816
    assert sum(isinstance(m, nn.Conv2d) for m in full.modules()) == len(LAYERS) == 149


def test_maps_are_those_of_figures_3_and_9(full: Network) -> None:
    found = list(shapes(full).values())
    assert found[:6] == [(32, 149), (32, 147), (64, 147), (160, 73), (192, 71), (384, 35)]
    assert found[6:] == [(384, 35)] * 4 + [(1024, 17)] * 8 + [(1536, 8)] * 4


def test_the_head_has_a_mean_over_8_by_8_and_dropout_of_a_fifth(full: Network) -> None:
    assert [type(m) for m in full.head] == [nn.AvgPool2d, Dropout, nn.Flatten, nn.Linear]
    assert (full.head[0].kernel_size, full.head[1].p) == (8, 0.2)
    assert full.sides.keys() == set()


def test_means_leave_padding_out(full: Network) -> None:
    means = [m for m in full.features.modules() if isinstance(m, nn.AvgPool2d)]
    assert len(means) == 4 + 7 + 3
    assert not any(m.count_include_pad for m in means)


def kernels(full: Network, name: str) -> list[tuple[int, ...]]:
    return [m.kernel_size for m in full.features.get_submodule(name).modules() if isinstance(m, nn.Conv2d)]


def test_long_kernels_are_in_the_released_order(full: Network) -> None:
    assert kernels(full, "4.branch1") == [(1, 1), (1, 7), (7, 1), (3, 3)]
    assert kernels(full, "11.branch1") == [(1, 1), (1, 7), (7, 1)]
    assert kernels(full, "11.branch2") == [(1, 1), (7, 1), (1, 7), (7, 1), (1, 7)]
    assert kernels(full, "19.branch1") == [(1, 1), (1, 3), (3, 1)]
    assert kernels(full, "19.branch2") == [(1, 1), (3, 1), (1, 3), (1, 3), (3, 1)]


def test_both_kernels_of_a_fork_see_the_same_maps() -> None:
    torch.manual_seed(0)
    network = InceptionV4(Row(size=75, width=0.125, blocks=(1, 1, 1)), 3).eval()
    branch, maps = network.features.get_submodule("10.branch1"), torch.rand(1, 192, 3, 3)
    first, fork = branch.children()
    one, a, b = first(maps), fork.get_submodule("a"), fork.get_submodule("b")
    assert torch.equal(branch(maps), torch.cat([a(one), b(one)], 1))


def test_timm_numbers_the_branches(full: Network) -> None:
    rename = NETS["inception-v4"].foreign["timm"].rename
    state = {name: t for name, t in full.state_dict().items() if name not in ("mean", "std")}
    theirs = {rename(name): tuple(t.shape) for name, t in state.items()}
    assert len(theirs) == len(state) == 896
    assert theirs["features.3.conv.conv.weight"] == (96, 64, 3, 3)
    assert theirs["features.11.branch2.3.conv.weight"] == (224, 224, 7, 1)
    assert theirs["features.18.branch1.2.bn.weight"] == (320,)
    assert theirs["features.19.branch1_1b.conv.weight"] == (256, 384, 3, 1)
    assert theirs["features.20.branch2_3a.bn.running_mean"] == (256,)
    assert theirs["features.21.branch2_0.bn.num_batches_tracked"] == ()
    assert theirs["features.21.branch3.1.conv.weight"] == (256, 1536, 1, 1)
    assert theirs["last_linear.weight"] == (1000, 1536)


def test_sizes_down_to_75_work() -> None:
    row = Row(size=75, width=0.125, blocks=(1, 1, 1))
    assert InceptionV4(row, 3).eval()(torch.rand(1, 3, 75, 75)).shape == (1, 3)
    with pytest.raises(ValueError, match="size is 74, but the smallest that works is 75"):
        InceptionV4(Row(size=74, width=0.125, blocks=(1, 1, 1)), 3)


def test_the_errors_are_those_of_the_paper() -> None:
    assert NETS["inception-v4"].result == PaperResult(20.0, 5.0, "1 crop, without blacklisted images")
