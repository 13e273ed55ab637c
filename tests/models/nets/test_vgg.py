"""VGG: Tables 1 and 2 of the paper, places of normalisation, initial weights, names in other libraries."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.nets.vgg import NETS, VGG
from tests.support.outline import count, outline, shapes

WIDTHS = (64, 128, 256, 512, 512)
TABLE_1 = {  # kernels of each stage, and the column's number of weight layers
    "vgg-a": (("3", "3", "33", "33", "33"), 11),
    "vgg-a-lrn": (("3", "3", "33", "33", "33"), 11),
    "vgg-b": (("33", "33", "33", "33", "33"), 13),
    "vgg-b-shallow": (("5", "5", "5", "5", "5"), 8),
    "vgg-c": (("33", "33", "331", "331", "331"), 16),
    "vgg-d": (("33", "33", "333", "333", "333"), 16),
    "vgg-e": (("33", "33", "3333", "3333", "3333"), 19),
}
TABLE_2 = {"vgg-a": 133, "vgg-a-lrn": 133, "vgg-b": 133, "vgg-c": 134, "vgg-d": 138, "vgg-e": 144}
KNOWN = {
    "vgg-a": 132_863_336, "vgg-a-lrn": 132_863_336, "vgg-b": 133_047_848, "vgg-b-shallow": 134_503_528,
    "vgg-c": 133_638_952, "vgg-d": 138_357_544, "vgg-e": 143_667_240,
}  # fmt: skip
every_column = pytest.mark.parametrize("name", sorted(TABLE_1))
every_normalised = pytest.mark.parametrize("name", sorted(set(TABLE_1) - {"vgg-a-lrn"}))


def layers(name: str) -> list[tuple[int, int, int]]:
    """Return (maps in, kernel, maps out) of each convolution."""
    flat = [(int(k), w) for kernels, w in zip(TABLE_1[name][0], WIDTHS, strict=True) for k in kernels]
    return [(a, k, b) for a, (k, b) in zip((3, *(w for _, w in flat)), flat, strict=False)]


@every_column
def test_parameters_are_those_of_table_1_by_hand(name: str) -> None:
    known = sum((a * k * k + 1) * b for a, k, b in layers(name))
    known += (49 * 512 + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    assert count(outline(NETS[name])) == known == KNOWN[name] == NETS[name].parameters


@pytest.mark.parametrize("name", sorted(TABLE_2))
def test_parameters_are_those_of_table_2_in_millions(name: str) -> None:
    assert round(NETS[name].parameters / 1e6) == TABLE_2[name]


@every_normalised
def test_batch_norm_adds_a_scale_and_a_shift_per_map(name: str) -> None:
    added = sum(2 * b for _, _, b in layers(name))
    assert count(outline(NETS[f"{name}-bn"])) == KNOWN[name] + added == NETS[f"{name}-bn"].parameters


@every_column
def test_layers_are_those_of_table_1(name: str) -> None:
    network = outline(NETS[name])
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.kernel_size[0], m.out_channels) for m in convolutions] == layers(name)
    assert all(m.stride == (1, 1) and m.padding == (m.kernel_size[0] // 2,) * 2 for m in convolutions)
    assert len(convolutions) + 3 == TABLE_1[name][1]
    pools = [m for m in network.modules() if isinstance(m, nn.MaxPool2d)]
    assert [(m.kernel_size, m.stride) for m in pools] == [(2, 2)] * 5


@every_column
def test_only_pooling_changes_the_size_of_maps(name: str) -> None:
    found = shapes(outline(NETS[name]))
    pooled = [found[f"pool{stage}"] for stage in range(1, 6)]
    assert pooled == list(zip(WIDTHS, (112, 56, 28, 14, 7), strict=True))
    assert {side for _, side in found.values()} == {224, 112, 56, 28, 14, 7}


def test_a_lrn_normalises_once_after_the_first_relu() -> None:
    network = outline(NETS["vgg-a-lrn"])
    children = [name for name, _ in network.features.named_children()]
    assert children[:4] == ["conv1_1", "relu1_1", "norm1", "pool1"]
    children.remove("norm1")
    assert children == [name for name, _ in outline(NETS["vgg-a"]).features.named_children()]
    norm = network.features.get_submodule("norm1")
    assert isinstance(norm, LocalResponseNorm)
    assert (norm.n, norm.k, norm.alpha, norm.beta, count(norm)) == (5, 2.0, 1e-4, 0.75, 0)


@every_normalised
def test_batch_norm_is_between_each_convolution_and_its_relu(name: str) -> None:
    found = list(outline(NETS[f"{name}-bn"]).features)
    after = [(type(b), type(c)) for a, b, c in zip(found, found[1:], found[2:], strict=False) if type(a) is nn.Conv2d]
    assert after == [(nn.BatchNorm2d, nn.ReLU)] * (TABLE_1[name][1] - 3)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in outline(NETS[name]).modules()) == 0


@pytest.mark.parametrize(("std", "explodes"), [(0.01, False), (0.1, True)])
def test_activations_would_explode_if_a_hundredth_were_the_variance(std: float, explodes: bool) -> None:
    torch.manual_seed(0)
    network = VGG(replace(NETS["vgg-e"].row, size=32, hidden=(64, 64), init_std=std)).eval()
    for name, p in network.named_parameters():
        assert p.std().item() == pytest.approx(0.0 if name.endswith("bias") else std, rel=0.05), name
    images = torch.randn(1, 3, 32, 32)
    assert (network(images).abs().max() > 1e6) == explodes


def test_layers_that_deeper_nets_take_from_a_have_the_same_names() -> None:
    """Section 3.1: the first four convolutions and the fully connected layers."""
    shallow, deep = (dict(outline(NETS[name]).named_parameters()) for name in ("vgg-a", "vgg-b"))
    first = [n for n in shallow if n.startswith("features")][:8]
    taken = [n for n in shallow if n in first or n.startswith("head")]
    assert sorted({n.split(".")[1] for n in first}) == ["conv1_1", "conv2_1", "conv3_1", "conv3_2"]
    assert all(shallow[n].shape == deep[n].shape for n in taken)
    assert sum(deep[n].numel() for n in taken) == 124_603_752


@pytest.mark.parametrize("library", ["torchvision", "timm"])
@pytest.mark.parametrize(
    ("name", "theirs", "positions"),
    [
        ("vgg-d", "vgg16", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        ("vgg-a-bn", "vgg11_bn", (0, 1, 4, 5, 8, 9, 11, 12, 15, 16, 18, 19, 22, 23, 25, 26)),
    ],
)
def test_other_libraries_number_their_features(
    library: str, name: str, theirs: str, positions: tuple[int, ...]
) -> None:
    foreign = NETS[name].foreign[library]
    heads = {"torchvision": ("classifier.0", "classifier.3", "classifier.6")}
    head = heads.get(library, ("pre_logits.fc1", "pre_logits.fc2", "head.fc"))
    weights = [n for n, _ in outline(NETS[name]).named_parameters() if n.endswith("weight")]
    expected = [f"features.{i}.weight" for i in positions] + [f"{layer}.weight" for layer in head]
    assert [foreign.rename(n) for n in weights] == expected
    assert foreign.name == theirs


def test_other_libraries_have_a_b_d_and_e() -> None:
    known = {name: entry.foreign["timm"].name for name, entry in NETS.items() if entry.foreign}
    plain = {"vgg-a": "vgg11", "vgg-b": "vgg13", "vgg-d": "vgg16", "vgg-e": "vgg19"}
    assert known == plain | {f"{name}-bn": f"{theirs}_bn" for name, theirs in plain.items()}


@pytest.mark.parametrize(("name", "theirs"), [("vgg-d", "VGG_ILSVRC_16_layers"), ("vgg-e", "VGG_ILSVRC_19_layers")])
def test_the_released_caffe_models_have_the_names_of_our_layers(name: str, theirs: str) -> None:
    caffe, (_, depth) = NETS[name].foreign["caffe"], TABLE_1[name]
    found = [caffe.rename(n) for n, _ in outline(NETS[name]).named_parameters()]
    assert len(found) == 2 * depth
    assert (caffe.name, found[:3]) == (theirs, ["conv1_1.weight", "conv1_1.bias", "conv1_2.weight"])
    assert found[-6:] == [f"fc{n}.{leaf}" for n in (6, 7, 8) for leaf in ("weight", "bias")]
    assert [n for n, entry in NETS.items() if "caffe" in entry.foreign] == ["vgg-d", "vgg-e"]


def test_a_size_that_leaves_nothing_is_refused() -> None:
    row = replace(NETS["vgg-a"].row, widths=(4, 4, 4, 4, 4), hidden=(4, 4))
    with pytest.raises(ValueError, match="size is 31, but the smallest that works is 32"):
        VGG(replace(row, size=31))
    assert VGG(replace(row, size=32), 3).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
