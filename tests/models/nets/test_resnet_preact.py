"""Pre-activation ResNets: parameters by hand, depths, and the first and last activations."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from imclass.models.nets.resnet_preact import NETS, ResNetPreAct, Row
from tests.support.outline import count, outline, shapes

CIFAR = {"110": 18, "164": 18, "1001": 111}
IMAGENET = {"152": (3, 8, 36, 3), "200": (3, 24, 36, 3)}
BASIC = Row((2, 1), ((4,), (6,)), stem=4, size=8)
BOTTLENECK = Row((2, 1), ((2, 8), (3, 12)), stem=4, size=8)


def bottlenecks(w_in: int, blocks: tuple[int, ...], first: int) -> tuple[int, int]:
    """Return the parameters of all units, without the first BN (counted with the stem), and the last width."""
    total = -2 * w_in
    for stage, n in enumerate(blocks):
        width, w_out = first << stage, 4 * first << stage
        for i in range(n):
            total += 2 * w_in + w_in * width + 2 * width + 9 * width * width + 2 * width + width * w_out
            total += w_in * w_out if i == 0 else 0
            w_in = w_out
    return total, w_in


def by_hand(name: str) -> int:
    if name == "110":
        stage = [9 * a * b + 35 * 9 * b * b + 2 * (a + 35 * b) for a, b in ((16, 16), (16, 32), (32, 64))]
        return 27 * 16 + sum(stage) + 2 * 64 + 64 * 10 + 10
    if name in CIFAR:
        units, w_out = bottlenecks(16, (CIFAR[name],) * 3, 16)
        return 27 * 16 + 2 * 16 + units + 2 * w_out + w_out * 10 + 10
    units, w_out = bottlenecks(64, IMAGENET[name], 64)
    return 49 * 3 * 64 + 2 * 64 + units + 2 * w_out + w_out * 1000 + 1000


@pytest.mark.parametrize("name", ["110", "164", "152", "200"])
def test_parameters_and_depth_are_those_of_the_paper(name: str) -> None:
    """Depth counts convolutions and the FC, but not projections."""
    entry = NETS[f"resnet-preact-cifar-{name}" if name in CIFAR else f"resnet-preact-{name}"]
    network = outline(entry)
    assert count(network) == by_hand(name) == entry.parameters
    layers = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in n]
    assert len(layers) == int(name)


def test_millions_are_those_of_table_4() -> None:
    """1.7, 1.7 and 10.2, the last without batch norms. A unit has one batch norm per convolution."""
    assert [round(NETS[f"resnet-preact-cifar-{d}"].parameters / 1e6, 1) for d in (110, 164)] == [1.7, 1.7]
    parameters = NETS["resnet-preact-cifar-1001"].parameters
    norms = sum(2 * (111 * 2 * w + 110 * 4 * w) for w in (16, 32, 64)) + 2 * (16 + 64 + 128 + 256)
    assert parameters == by_hand("1001") == 10_327_706
    assert round((parameters - norms) / 1e6, 1) == 10.2


def test_the_table_is_complete() -> None:
    names = {*(f"resnet-preact-cifar-{d}" for d in CIFAR), *(f"resnet-preact-{d}" for d in IMAGENET)}
    assert set(NETS) == names


@pytest.mark.parametrize("row", [BASIC, BOTTLENECK])
def test_the_first_and_last_activations_are_those_of_the_appendix(row: Row) -> None:
    """The first unit does not begin with an activation, because conv1's precedes both paths; one follows the last."""
    network = ResNetPreAct(row)
    first, second, third = (network.features.get_submodule(f"conv{s}_x.{i}") for s, i in ((2, 0), (2, 1), (3, 0)))
    assert [name for name, _ in network.features.named_children()] == [
        "conv1", "bn1", "relu1", "conv2_x", "conv3_x", "bn", "relu",
    ]  # fmt: skip
    assert isinstance(first.get_submodule("residual.0"), nn.Conv2d)
    assert isinstance(second.get_submodule("residual.0"), nn.BatchNorm2d)
    assert len(list(first.get_submodule("shared").children())) == 0
    assert len(list(third.get_submodule("shared").children())) == (2 if row is BOTTLENECK else 0)
    assert isinstance(first.get_submodule("shortcut"), nn.Conv2d if row is BOTTLENECK else nn.Identity)


def test_with_silent_residuals_a_stage_is_the_identity() -> None:
    """Equation 4: the signal passes through unchanged, which a ReLU after the sum would prevent."""
    network = ResNetPreAct(BASIC).eval()
    stage, maps = network.features.get_submodule("conv2_x"), torch.randn(2, 4, 8, 8)
    for unit in stage.children():
        last = list(unit.get_submodule("residual").children())[-1]
        nn.init.zeros_(last.get_parameter("weight"))
    assert torch.equal(stage(maps), maps)
    assert not torch.equal(functional.relu(maps), maps)


def test_a_bottleneck_strides_in_its_first_1x1() -> None:
    third = ResNetPreAct(BOTTLENECK).features.get_submodule("conv3_x.0")
    found = [(m.kernel_size[0], m.stride[0]) for m in third.modules() if isinstance(m, nn.Conv2d)]
    assert found == [(1, 2), (3, 1), (1, 1), (1, 2)]  # the projection last


def test_maps_are_those_of_resnet() -> None:
    found = shapes(outline(NETS["resnet-preact-152"]))
    assert [found[f"conv{s}_x"] for s in (2, 3, 4, 5)] == [(256, 56), (512, 28), (1024, 14), (2048, 7)]
    found = shapes(outline(NETS["resnet-preact-cifar-164"]))
    assert [found[f"conv{s}_x"] for s in (2, 3, 4)] == [(64, 32), (128, 16), (256, 8)]


@pytest.mark.parametrize("row", [BASIC, BOTTLENECK])
@pytest.mark.parametrize("size", [1, 7, 20])
def test_other_sizes_work(row: Row, size: int) -> None:
    network = ResNetPreAct(Row(row.blocks, row.widths, row.stem, size=size), classes=3).eval()
    assert network(torch.rand(2, 3, size, size)).shape == (2, 3)
