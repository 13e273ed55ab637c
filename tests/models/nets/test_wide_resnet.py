"""Wide ResNets: parameters by hand, order inside a block, place of dropout, bottlenecks twice as wide."""

import pytest
import torch
from torch import nn

from imclass.models.layers.dropout import Dropout
from imclass.models.nets.resnet import NETS as RESNETS
from imclass.models.nets.wide_resnet import NETS, Row, WideResNet
from tests.support.outline import count, outline, shapes


def by_hand(n: int, k: int) -> int:
    """Table 1: 16 maps, then three groups of n blocks of two 3x3, 16k, 32k and 64k wide, one projection per group."""
    total, w_in = 27 * 16, 16
    for width in (16 * k, 32 * k, 64 * k):
        for i in range(n):
            total += 2 * w_in + 9 * w_in * width + 2 * width + 9 * width * width
            total += w_in * width if i == 0 else 0
            w_in = width
    return total + 2 * w_in + w_in * 10 + 10


@pytest.mark.parametrize("name", ["wide-resnet-28-10", "wide-resnet-28-10-dropout"])
def test_28_10_is_the_network_of_table_1(name: str) -> None:
    network = outline(NETS[name])
    assert count(network) == by_hand(n=4, k=10) == NETS[name].parameters
    assert round(NETS[name].parameters / 1e6, 2) == 36.48
    found = shapes(network)
    assert [found[f"conv{s}_x"] for s in (2, 3, 4)] == [(160, 32), (320, 16), (640, 8)]
    kernels = [m.kernel_size[0] for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert (kernels.count(3), kernels.count(1)) == (25, 3)  # 28 = 6n + 4 with the projections


def test_dropout_is_between_the_convolutions_of_a_block() -> None:
    """Section 2.4: in every block, after the second activation, and nowhere else."""
    network = WideResNet(Row((1, 2, 1), (8, 8, 12), stem=4, dropout=0.3))
    blocks = [network.features.get_submodule(f"conv{s}_x.{i}") for s, i in ((2, 0), (3, 0), (3, 1), (4, 0))]
    for block in blocks:
        kinds = [type(m) for part in ("shared", "residual") for m in block.get_submodule(part).children()]
        norm = [nn.BatchNorm2d, nn.ReLU]
        assert kinds == [*norm, nn.Conv2d, *norm, Dropout, nn.Conv2d]
    assert sum(isinstance(m, Dropout) for m in network.modules()) == 4
    assert {m.p for m in network.modules() if isinstance(m, Dropout)} == {0.3}
    plain = WideResNet(Row((1, 2, 1), (8, 8, 12), stem=4))
    assert not any(isinstance(m, Dropout) for m in plain.modules())


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    network, images = WideResNet(Row((1, 1, 1), (8, 8, 8), stem=4, dropout=0.5, size=8)), torch.rand(4, 3, 8, 8)
    assert not torch.equal(network.train()(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


def test_the_activation_is_shared_only_where_the_width_changes() -> None:
    network = WideResNet(Row((2, 1, 1), (8, 16, 32), stem=8))
    shared = {name: len(list(m.children())) for name, m in network.features.named_modules() if name.endswith("shared")}
    assert shared == {"conv2_x.0.shared": 0, "conv2_x.1.shared": 0, "conv3_x.0.shared": 2, "conv4_x.0.shared": 2}


@pytest.mark.parametrize(("name", "plain", "millions"), [("50-2", "50", 68.88), ("101-2", "101", 126.89)])
def test_bottlenecks_are_twice_as_wide_inside(name: str, plain: str, millions: float) -> None:
    wide, narrow = NETS[f"wide-resnet-{name}"], RESNETS[f"resnet-{plain}-v1.5"]
    assert wide.row.blocks == narrow.row.blocks
    assert wide.row.widths == tuple((2 * inner, outer) for inner, outer in narrow.row.widths)
    assert wide.row.stride_in == narrow.row.stride_in == "3x3"
    extra = sum(
        n * (9 * (4 - 1) * w * w + w * 4 * w + 4 * w) + w * (4 * w * (n - 1) + w_in)
        for n, w, w_in in zip(wide.row.blocks, (64, 128, 256, 512), (64, 256, 512, 1024), strict=True)
    )
    assert count(outline(wide)) == narrow.parameters + extra == wide.parameters
    assert round(wide.parameters / 1e6, 2) == millions
    assert wide.foreign["torchvision"].name == wide.foreign["timm"].name == f"wide_resnet{name.replace('-', '_')}"


def test_the_errors_are_the_papers() -> None:
    published = {name: entry.result for name, entry in NETS.items()}
    assert [published[f"wide-resnet-28-10{e}"].top1 for e in ("", "-dropout")] == [4.00, 3.89]  # type: ignore[union-attr]
    assert (published["wide-resnet-50-2"].top1, published["wide-resnet-50-2"].top5) == (21.9, 6.03)  # type: ignore[union-attr]
