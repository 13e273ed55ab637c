"""ResNet: blocks, maps and multiply-adds of Table 1, parameters by hand for every option, place of the stride."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from imclass.models.analysis.geometry import measure
from imclass.models.entry import NetworkEntry
from imclass.models.nets.resnet import NETS, ResNet, Row
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
COUNTS = {  # in millions, as rounded in reference tables
    "resnet-18": 11.69, "resnet-34": 21.80, "resnet-50": 25.56, "resnet-101": 44.55, "resnet-152": 60.19,
    "resnet-18-a": 11.52, "resnet-34-a": 21.62,
    "resnet-50-v1.5": 25.56, "resnet-101-v1.5": 44.55, "resnet-152-v1.5": 60.19,
}  # fmt: skip
MULTIPLY_ADDS = {18: (1.8, 1.814), 34: (3.6, 3.664), 50: (3.8, 3.858), 101: (7.6, 7.570), 152: (11.3, 11.282)}
NARROW = Row((1, 2, 1, 1), ((2, 8), (4, 16), (4, 16), (8, 32)), stem=4, size=64)


def by_hand(depth: int, option: str) -> int:
    """Count convolutions without bias, BN's two numbers per map, projections of the option, and FC with bias."""
    total, w_in = 7 * 7 * 3 * 64 + 2 * 64, 64
    for stage, blocks in enumerate(BLOCKS[depth]):
        width = 64 << stage
        w_out = width if depth < 50 else 4 * width
        for i in range(blocks):
            if depth < 50:
                total += 9 * w_in * width + 9 * width * width + 4 * width
            else:
                total += w_in * width + 9 * width * width + width * w_out + 4 * width + 2 * w_out
            if option == "C" or (option == "B" and (w_in != w_out or (i == 0 and stage > 0))):
                total += w_in * w_out + 2 * w_out
            w_in = w_out
    return total + w_in * 1000 + 1000


@pytest.mark.parametrize("depth", BLOCKS)
@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_parameters_are_those_of_table_1_by_hand(depth: int, option: str) -> None:
    entry = NETS[f"resnet-{depth}"]
    assert count(outline(replace(entry, row=replace(entry.row, option=option)))) == by_hand(depth, option)


def test_the_table_is_that_of_the_paper() -> None:
    assert set(NETS) == {*COUNTS, "resnet-18-c", "resnet-34-c"}
    for name, millions in COUNTS.items():
        assert round(NETS[name].parameters / 1e6, 2) == millions
    for name, entry in NETS.items():
        assert entry.parameters == by_hand(int(name.split("-")[1]), entry.row.option)
        assert entry.row.blocks == BLOCKS[int(name.split("-")[1])]


def test_the_errors_are_those_of_tables_2_and_3() -> None:
    published = {name: entry.result for name, entry in NETS.items()}
    assert {name: (p.top1, p.top5) for name, p in published.items() if p and p.protocol == "10 crops"} == {
        "resnet-18-a": (27.88, None), "resnet-34-a": (25.03, 7.76), "resnet-34": (24.52, 7.46),
        "resnet-34-c": (24.19, 7.40), "resnet-50": (22.85, 6.71), "resnet-101": (21.75, 6.05),
        "resnet-152": (21.43, 5.71),
    }  # fmt: skip


@pytest.mark.parametrize("depth", BLOCKS)
def test_depth_counts_layers_with_weights(depth: int) -> None:
    """The number in a name counts all layers with weights except projections."""
    network = outline(NETS[f"resnet-{depth}"])
    layers = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in n]
    assert len(layers) == depth
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(("depth", "widths"), [(34, (64, 128, 256, 512)), (50, (256, 512, 1024, 2048))])
def test_maps_are_112_56_28_14_7_and_1_pixels_wide(depth: int, widths: tuple[int, ...]) -> None:
    network = outline(NETS[f"resnet-{depth}"])
    found = shapes(network)
    assert found["conv1"] == (64, 112)
    assert found["pool1"] == (64, 56)
    sides = zip(widths, (56, 28, 14, 7), strict=True)
    assert [found[f"conv{stage}_x"] for stage in (2, 3, 4, 5)] == list(sides)
    assert network.head[0](torch.empty(1, widths[-1], 7, 7, device="meta")).shape[2:] == (1, 1)


@pytest.mark.parametrize("depth", BLOCKS)
def test_multiply_adds_are_those_of_table_1(depth: int) -> None:
    published, computed = MULTIPLY_ADDS[depth]
    macs = measure(outline(NETS[f"resnet-{depth}"])).macs / 1e9
    assert macs == pytest.approx(published, rel=0.02)
    assert macs == pytest.approx(computed, abs=0.0005)


def test_the_stride_in_the_3x3_costs_more_but_adds_no_parameters() -> None:
    paper, later = NETS["resnet-50"], NETS["resnet-50-v1.5"]
    assert paper.parameters == later.parameters
    assert measure(outline(later)).macs == pytest.approx(4.1e9, rel=0.01)
    assert strides(paper) == [(2, 1), (2, 1), (2, 1)]
    assert strides(later) == [(1, 2), (1, 2), (1, 2)]


def strides(entry: NetworkEntry) -> list[tuple[int, int]]:
    """Return the strides of the 1x1 and the 3x3 in the first block of each of the last three stages."""
    network = outline(entry)
    firsts = [network.features.get_submodule(f"conv{stage}_x.0.residual") for stage in (3, 4, 5)]
    return [(first.get_submodule("0").stride[0], first.get_submodule("3").stride[0]) for first in firsts]  # type: ignore[index, misc]


@pytest.mark.parametrize(
    ("name", "projections"),
    [("resnet-34-a", 0), ("resnet-34", 3), ("resnet-34-c", 16), ("resnet-18-c", 8), ("resnet-50", 4)],
)
def test_the_option_decides_the_number_of_projections(name: str, projections: int) -> None:
    """Option B projects where the shape changes, including the first stage of bottlenecks, from 64 to 256 maps.

    For 34 layers the paper counts thirteen projections that option C adds to the three of B.
    """
    names = [n for n, m in outline(NETS[name]).named_modules() if isinstance(m, nn.Conv2d) and "shortcut" in n]
    assert len(names) == projections


@pytest.mark.parametrize("name", sorted(n for n, entry in NETS.items() if entry.foreign))
def test_torchvision_has_a_name_for_every_tensor(name: str) -> None:
    entry = NETS[name]
    state = [k for k in outline(entry).state_dict() if k not in ("mean", "std")]
    theirs = entry.foreign["torchvision"]
    renamed = [theirs.rename(k) for k in state]
    assert len(set(renamed)) == len(renamed)
    assert {k.split(".")[0] for k in renamed} == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}
    assert not any("residual" in k or "shortcut" in k for k in renamed)
    assert theirs.name == name.replace("-v1.5", "").replace("-", "")


def test_only_networks_that_torchvision_has_are_named_after_it() -> None:
    assert {name for name, entry in NETS.items() if entry.foreign} == {
        "resnet-18", "resnet-34", "resnet-50-v1.5", "resnet-101-v1.5", "resnet-152-v1.5",
    }  # fmt: skip


@pytest.mark.parametrize("option", ["A", "B", "C"])
@pytest.mark.parametrize("size", [1, 33, 97])
def test_other_sizes_and_options_work(option: str, size: int) -> None:
    network = ResNet(replace(NARROW, option=option, size=size), classes=3).eval()  # type: ignore[arg-type]
    images = torch.rand(2, 3, size, size)
    assert network(images).shape == (2, 3)
    assert_near(network.dense(images)[:, :, 0, 0], network(images))


def test_a_stage_of_three_widths_is_refused() -> None:
    with pytest.raises(ValueError, match=r"each stage must have one .* or two"):
        ResNet(replace(NARROW, widths=((2, 8), (4, 16), (4, 16, 16), (8, 32))))
    with pytest.raises(ValueError, match=r"blocks are \(1, 1, 0, 1\); they must be 4 numbers"):
        ResNet(replace(NARROW, blocks=(1, 1, 0, 1)))


def test_convolutions_begin_with_variance_two_over_fan_in() -> None:
    torch.manual_seed(0)
    layer = ResNet(replace(NARROW, stem=64)).features.get_submodule("conv1")
    assert layer.get_parameter("weight").var().item() == pytest.approx(2 / (3 * 49), rel=0.1)
