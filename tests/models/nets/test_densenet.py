"""DenseNet: parameters by hand, depths, growth, transitions, dropout, names in torchvision."""

import pytest
import torch
from torch import nn

from imclass.models.layers.dropout import Dropout
from imclass.models.nets.densenet import NETS, DenseLayer, DenseNet, Row
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

MILLIONS = {
    "cifar-40-12": 1.02, "cifar-100-12": 6.98, "cifar-100-24": 27.25,
    "cifar-bc-100-12": 0.769, "cifar-bc-250-24": 15.32, "cifar-bc-190-40": 25.62,
    "121": 7.979, "169": 14.15, "201": 20.01, "161": 28.68,
}  # fmt: skip
TABLE_1 = {"121": (6, 12, 24, 16), "169": (6, 12, 32, 32), "201": (6, 12, 48, 32), "161": (6, 12, 36, 24)}
NARROW = Row(4, (2, 1), stem_kernel=3, size=8)
every_network = pytest.mark.parametrize("name", sorted(MILLIONS))


def by_hand(name: str) -> int:
    """Count the parameters: a layer sees all maps before it; BC has a 1x1 to 4k maps and halves between blocks."""
    cifar, bc = name.startswith("cifar"), not name.startswith("cifar") or "bc" in name
    depth = int(name.split("-")[-2 if cifar else -1])
    k = int(name.split("-")[-1]) if cifar else 48 if name == "161" else 32
    blocks = ((depth - 4) // (6 if bc else 3),) * 3 if cifar else TABLE_1[name]
    width = 2 * k if bc else 16
    total = 27 * width if cifar else 147 * width + 2 * width
    for i, n in enumerate(blocks):
        for _ in range(n):
            total += 2 * width + (width * 4 * k + 2 * 4 * k + 9 * 4 * k * k if bc else 9 * width * k)
            width += k
        if i < len(blocks) - 1:
            w_out = width // 2 if bc else width
            total, width = total + 2 * width + width * w_out, w_out
    return total + 2 * width + (width + 1) * (10 if cifar else 1000)


@every_network
def test_parameters_are_those_of_the_tables_by_hand(name: str) -> None:
    entry = NETS[f"densenet-{name}"]
    assert count(outline(entry)) == by_hand(name) == entry.parameters
    digits = len(str(MILLIONS[name]).split(".")[1])
    assert round(entry.parameters / 1e6, digits) == MILLIONS[name]


def test_the_table_is_complete() -> None:
    assert {name.removeprefix("densenet-") for name in NETS} == set(MILLIONS)


@every_network
def test_depth_counts_convolutions_and_fc(name: str) -> None:
    network = outline(NETS[f"densenet-{name}"])
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.split("-")[-2 if name.startswith("cifar") else -1])
    assert all(m.bias is None for m in layers if isinstance(m, nn.Conv2d))


def test_maps_are_those_of_table_1() -> None:
    found = shapes(outline(NETS["densenet-121"]))
    assert [found[f"denseblock{i}"] for i in (1, 2, 3, 4)] == [(256, 56), (512, 28), (1024, 14), (1024, 7)]
    assert [found[f"transition{i}"] for i in (1, 2, 3)] == [(128, 28), (256, 14), (512, 7)]
    assert (found["conv0"], found["pool0"]) == ((64, 112), (64, 56))
    found = shapes(outline(NETS["densenet-cifar-40-12"]))
    assert [found[f"denseblock{i}"] for i in (1, 2, 3)] == [(160, 32), (304, 16), (448, 8)]
    assert [found[f"transition{i}"] for i in (1, 2)] == [(160, 16), (304, 8)]


@pytest.mark.parametrize("bc", [True, False])
def test_a_layer_keeps_its_input_and_adds_k_maps(bc: bool) -> None:
    """Equation 2: a layer sees the maps of all layers before it."""
    torch.manual_seed(0)
    layer, maps = DenseLayer(6, Row(4, (1,), bc)).eval(), torch.randn(2, 6, 5, 5)
    before = maps.clone()
    out = layer(maps)
    assert out.shape == (2, 10, 5, 5)
    assert torch.equal(out[:, :6], before)
    assert torch.equal(maps, before)
    assert_near(out[:, 6:], layer.new(before))
    norm = [nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
    assert [type(m) for m in layer.new] == (norm * 2 if bc else norm)
    assert [m.out_channels for m in layer.new if isinstance(m, nn.Conv2d)] == ([16, 4] if bc else [4])


def test_dropout_follows_every_convolution_except_the_first() -> None:
    network = DenseNet(Row(4, (2, 1), stem_kernel=3, dropout=0.2, size=8))
    layers = [m for m in network.features.modules() if isinstance(m, nn.Conv2d | Dropout)]
    assert [type(m) for m in layers] == [nn.Conv2d, *[nn.Conv2d, Dropout] * (2 * 3 + 1)]
    assert not any(isinstance(m, Dropout) for m in DenseNet(NARROW).modules())


def test_the_last_maps_are_normalised_and_rectified() -> None:
    names = [name for name, _ in DenseNet(NARROW).features.named_children()]
    assert names == ["conv0", "denseblock1", "transition1", "denseblock2", "norm3", "relu"]


def test_a_size_that_is_too_small_is_refused_with_the_smallest() -> None:
    with pytest.raises(ValueError, match="size is 3, but the smallest that works is 4"):
        DenseNet(Row(4, (1, 1, 1), stem_kernel=3, size=3))
    assert DenseNet(Row(4, (1, 1, 1), stem_kernel=3, size=4)).eval()(torch.rand(1, 3, 4, 4)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("features.conv0.weight", "features.conv0.weight"),
        ("features.denseblock3.0.new.norm1.running_mean", "features.denseblock3.denselayer1.norm1.running_mean"),
        ("features.denseblock3.23.new.conv2.weight", "features.denseblock3.denselayer24.conv2.weight"),
        ("features.transition2.conv.weight", "features.transition2.conv.weight"),
        ("features.norm5.bias", "features.norm5.bias"),
        ("head.2.weight", "classifier.weight"),
    ],
)
def test_names_are_those_of_torchvision(ours: str, theirs: str) -> None:
    entry = NETS["densenet-121"]
    assert entry.foreign["torchvision"].rename(ours) == theirs
    assert ours in outline(entry).state_dict()


def test_torchvision_has_only_the_networks_for_imagenet() -> None:
    named = {name: entry.foreign["torchvision"].name for name, entry in NETS.items() if entry.foreign}
    assert named == {f"densenet-{d}": f"densenet{d}" for d in TABLE_1}
