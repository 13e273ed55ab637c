"""Receptive fields compared with perturbed pixels, papers and Google's library; multiply-adds with a plain count."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.analysis.flow import flow
from imclass.models.analysis.geometry import Geometry, measure, receptive_fields
from imclass.models.classifier import networks
from imclass.models.network import Network
from tests.support.outline import outline


class Stack(Network):
    """Any features on 64 x 64 pixels; spatial mean; FC."""

    def __init__(self, *features: nn.Module, w_in: int = 1) -> None:
        super().__init__(64, w_in)
        self.features = nn.Sequential(*features)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2))


class Lambda(nn.Module):
    """A layer that calls a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Tensor:
        return self.function(maps)


class Branches(nn.Module):
    """Branches, whose results a function joins."""

    def __init__(self, join: Callable[[list[Tensor]], Tensor], *branches: nn.Module) -> None:
        super().__init__()
        self.join, self.branches = join, nn.ModuleList(branches)

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Tensor:
        return self.join([branch(maps) for branch in self.branches])


def stack(*features: nn.Module, w_in: int = 1) -> Stack:
    network = Stack(*features, w_in=w_in).eval()
    network(torch.zeros(1, w_in, 64, 64))
    return network


def conv(w_in: int, w_out: int, kernel: Any, stride: int = 1, **options: Any) -> nn.Conv2d:
    """Return a convolution without biases."""
    return nn.Conv2d(w_in, w_out, kernel, stride, bias=False, **options)


def same(w_in: int, w_out: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution with padding."""
    return conv(w_in, w_out, 3, stride, padding=1)


def cat(maps: list[Tensor]) -> Tensor:
    return torch.cat(maps, 1)


def add(maps: list[Tensor]) -> Tensor:
    return maps[0] + maps[1]


def option_a(maps: Tensor) -> Tensor:
    """Compute the shortcut of option A (He et al., CVPR 2016, section 3.3)."""
    return functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))


CASES: dict[str, Callable[[], list[nn.Module]]] = {
    "3x3 twice": lambda: [conv(1, 2, 3), nn.ReLU(), conv(2, 2, 3)],
    "strides and padding": lambda: [conv(1, 2, 7, 2, padding=3), nn.MaxPool2d(3, 2, 1), same(2, 2)],
    "dilated": lambda: [conv(1, 2, 3, dilation=3), conv(2, 2, 3, 2, dilation=2, padding=2), nn.MaxPool2d(2, 1)],
    "pooling in ceil mode": lambda: [nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2), conv(1, 2, 5, padding=2)],
    "grouped and depthwise": lambda: [conv(1, 4, 3, 2), conv(4, 4, 3, groups=4), conv(4, 8, 3, groups=2)],
    "1x7 and 7x1 in turn": lambda: [conv(1, 2, (1, 7), padding=(0, 3)), conv(2, 1, (7, 1), 2), conv(1, 1, (1, 3))],
    "1x7 and 7x1 side by side": lambda: [
        conv(1, 2, 1, 2), Branches(cat, conv(2, 2, (1, 7), padding=(0, 3)), conv(2, 1, (7, 1), padding=(3, 0))),
    ],
    "branches of one stride": lambda: [
        Branches(cat, same(1, 2, 2), nn.MaxPool2d(2), conv(1, 1, 1, 2)), conv(4, 2, 3),
    ],
    "option A": lambda: [conv(1, 2, 3), Branches(add, nn.Sequential(same(2, 3, 2), same(3, 3)), Lambda(option_a))],
    "a shortcut that sees more": lambda: [
        conv(1, 2, 3), Branches(add, same(2, 2, 2), nn.Sequential(nn.AvgPool2d(4, 2, 1), conv(2, 2, 1))),
    ],
    "dense concatenation": lambda: [
        conv(1, 1, 3, 2), Branches(cat, nn.Identity(), same(1, 2)), Branches(cat, nn.Identity(), same(3, 2)),
    ],
    "slices that begin later": lambda: [conv(1, 2, 3), Lambda(lambda maps: maps[:, 1:, 5::3, -40:]), conv(1, 2, 3)],
    "separate padding": lambda: [Lambda(lambda maps: functional.pad(maps, (3, 0, 1, 2))), conv(1, 2, 5, 2)],
    "adaptive pooling, 61 to 6": lambda: [conv(1, 2, 4), nn.AdaptiveMaxPool2d(6)],
    "channels split": lambda: [conv(1, 4, 3), Lambda(lambda maps: maps.unflatten(1, (2, 2)).sum(1)), conv(2, 2, 3, 2)],
}  # fmt: skip


def make_stack(case: str) -> Stack:
    """Return a stack in float64 with equal positive weights, so that every pixel counts and no effects cancel."""
    network = stack(*CASES[case]()).double()
    for weight in network.parameters():
        nn.init.constant_(weight.data, 0.5)
    return network


def visible_pixels(network: Stack, at: int, axis: int) -> tuple[int, int]:
    """Return the first and last row (or column) of pixels that can change the output at row (or column) `at`."""
    images = torch.rand(65, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images[:] = images[:1]
    for i in range(64):
        images[i].select(axis - 1, i).add_(100)
    with torch.no_grad():
        outputs = network.features(images).select(axis, at).flatten(1)
    rows = [i for i in range(64) if not torch.equal(outputs[i], outputs[64])]
    return rows[0], rows[-1]


@pytest.mark.parametrize("case", CASES)
def test_fields_are_the_pixels_that_change_the_output(case: str) -> None:
    network = make_stack(case)
    steps = [step for step in flow(network) if step.layer.startswith("features")]
    shape = steps[-1].outputs[0].shape
    field = receptive_fields(flow(network))[steps[-1].outputs[0].number]
    for axis, side, found in zip((2, 3), shape[2:], field, strict=True):
        at = side // 2
        low, high = found.jump * at + found.low, found.jump * at + found.high
        assert 0 < low <= high < 63, "the image is too small for this test"
        assert visible_pixels(network, at, axis) == (low, high)
        assert visible_pixels(network, at - 1, axis) == (low - found.jump, high - found.jump)


def field(*features: nn.Module) -> int:
    return measure(stack(*features)).receptive_field


def test_two_3x3_layers_see_5x5_and_three_see_7x7() -> None:
    """Simonyan and Zisserman 2015, section 2.3."""
    layers = [conv(1, 1, 3) for _ in range(3)]
    assert [field(*layers[:n]) for n in (1, 2, 3)] == [3, 5, 7] == [field(conv(1, 1, k)) for k in (3, 5, 7)]


@cache
def geometry(name: str) -> Geometry:
    return measure(outline(networks()[name]))


@pytest.mark.parametrize(
    ("name", "pool5", "fc6"),
    [
        ("vgg-a", 150, 342), ("vgg-a-lrn", 150, 342), ("vgg-b", 156, 348), ("vgg-b-shallow", 156, 348),
        ("vgg-c", 156, 348), ("vgg-d", 212, 404), ("vgg-e", 268, 460), ("vgg-d-bn", 212, 404),
    ],
)  # fmt: skip
def test_receptive_fields_of_vgg(name: str, pool5: int, fc6: int) -> None:
    found = geometry(name)
    assert (found.receptive_field, found.stride) == (pool5, 32)
    assert [layer.receptive_field for layer in found.layers if layer.kind == "Linear"] == [(fc6, fc6)] * 3


def test_a_spatial_pyramid_sees_all_positions_of_the_last_maps() -> None:
    """ZF-5's last maps have 13 x 13 positions, 16 pixels apart."""
    found = geometry("spp-zf-5")
    assert (found.receptive_field, found.stride) == (159, 16)
    assert {layer.receptive_field for layer in found.layers if layer.kind == "Linear"} == {(159 + 12 * 16,) * 2}


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("alexnet", 195), ("vgg-d", 212), ("inception-bn", 699), ("inception-v3", 1311), ("resnet-50", 483),
        *(
            pytest.param(*case, marks=pytest.mark.slow) for case in (
                ("inception-v4", 2071), ("inception-resnet-v2", 3039), ("resnet-101", 1027), ("resnet-152", 1507),
            )
        ),
    ],
)  # fmt: skip
def test_fields_of_the_last_maps_agree_with_google_s_library(name: str, pixels: int) -> None:
    """Compare with the table of google-research/receptive_field (Araujo, Norris and Sim, Distill 2019), stride 32."""
    found = geometry(name)
    assert (found.receptive_field, found.stride) == (pixels, 32)


def test_alexnet_layer_by_layer() -> None:
    """Compare with the same table, by end point."""
    layers = [layer for layer in geometry("alexnet").layers if layer.name.startswith("features") and layer.kernel]
    assert [layer.receptive_field[0] for layer in layers] == [11, 19, 51, 67, 99, 131, 163, 195]
    assert [layer.stride for layer in layers] == [(s, s) for s in (4, 8, 8, 16, 16, 16, 16, 32)]


@pytest.mark.parametrize(
    ("name", "published", "computed"),
    [
        ("resnet-18", 1.8, 1.814), ("resnet-34", 3.6, 3.664), ("resnet-50", 3.8, 3.858), ("resnet-101", 7.6, 7.570),
        ("resnet-152", 11.3, 11.282),
    ],
)  # fmt: skip
def test_multiply_adds_of_residual_networks_agree_with_the_paper(name: str, published: float, computed: float) -> None:
    """He et al., CVPR 2016, Table 1, in billions of multiply-adds."""
    macs = geometry(name).macs / 1e9
    assert macs == pytest.approx(published, rel=0.02) and round(macs, 3) == computed


def test_layers_of_vgg_d() -> None:
    """Expect 3 x 3 x w_in x w_out multiply-adds at each position, and Table 2's parameters."""
    found = geometry("vgg-d")
    first, *_, last = found.layers
    assert (first.name, first.kind, first.kernel) == ("features.conv1_1", "Conv2d", (3, 3))
    assert (first.input, first.output) == ((3, 224, 224), (64, 224, 224))
    assert (first.parameters, first.macs) == (64 * 27 + 64, 64 * 27 * 224**2)
    assert (last.input, last.output, last.parameters, last.macs) == ((4096,), (1000,), 4_097_000, 4_096_000)
    assert (found.parameters, found.macs) == (138_357_544, 15_470_264_320)
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    pools = [layer for layer in found.layers if layer.kind == "MaxPool2d"]
    assert [layer.output[1] for layer in pools] == [112, 56, 28, 14, 7] and {layer.macs for layer in pools} == {0}


def test_activations_are_the_outputs_of_convolutions_and_linear_layers() -> None:
    network = stack(conv(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), conv(4, 6, 3))
    found = measure(network)
    assert found.activations == 4 * 62 * 62 + 6 * 29 * 29 + 2
    assert [layer.activations for layer in found.layers] == [4 * 62**2] * 2 + [4 * 31**2, 6 * 29**2, 6, 6, 2]


def test_grouped_convolutions_multiply_only_within_groups() -> None:
    network = stack(conv(4, 8, 3, groups=2), conv(8, 8, 5, groups=8), w_in=4)
    assert [layer.macs for layer in measure(network).layers[:2]] == [8 * 62**2 * 9 * 2, 8 * 58**2 * 25]


@pytest.mark.parametrize("name", ["googlenet", "inception-v3"])
def test_side_outputs_are_not_counted(name: str) -> None:
    network = outline(networks()[name])
    assert len(network.sides) > 0
    found = measure(network)
    assert found.parameters == networks()[name].parameters < sum(p.numel() for p in network.parameters())
    assert not [layer.name for layer in found.layers if layer.name.startswith("sides")]


def test_the_parameters_of_a_layer_used_twice_count_once() -> None:
    shared = conv(2, 2, 3)
    network = stack(conv(1, 2, 3), shared, shared)
    layers = measure(network).layers[:3]
    assert [layer.parameters for layer in layers] == [18, 36, 0] and layers[2].macs > 0
    assert [layer.receptive_field[0] for layer in layers] == [3, 5, 7]


def test_each_layer_takes_the_output_shape_of_the_one_before() -> None:
    for before, after in pairwise(geometry("overfeat-accurate").layers):
        assert before.output == after.input


def test_the_network_is_unchanged() -> None:
    network = stack(conv(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    network.train()
    network.features[1].eval()
    modes = [module.training for module in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(network)
    assert [module.training for module in network.modules()] == modes
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_an_unknown_operation_is_named() -> None:
    network = stack(conv(1, 2, 3), nn.Upsample(scale_factor=2))
    with pytest.raises(ValueError, match=r"'upsample_nearest2d'.*'features.1'"):
        measure(network)
