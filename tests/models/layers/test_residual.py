"""Shortcuts match loops, blocks match their formulas, and sizes and foreign names are the published ones."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from imclass.models.layers.residual import (
    Bottleneck,
    PreActivation,
    Subsample,
    last_side,
    pre_activation_layers,
    projection,
    shortcut,
    stages,
    stem,
    torchvision_name,
)
from imclass.models.layers.sizes import map_side
from tests.support.outline import count
from tests.support.tolerance import assert_near


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("before", [0, 1])
def test_option_a_matches_a_plain_loop(layout: torch.memory_format, before: int) -> None:
    maps = torch.randn(2, 3, 6, 8).contiguous(memory_format=layout)
    expected = np.zeros((2, 5, 3, 4), np.float32)
    for c in range(3):
        for y in range(3):
            for x in range(4):
                expected[:, c + before, y, x] = maps[:, c, 2 * y, 2 * x]
    short = Subsample(2, 2, before)
    np.testing.assert_array_equal(short(maps).numpy(), expected)
    assert count(short) == 0
    assert short(maps).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("option", "same", "wider", "smaller"), [("A", 0, 0, 0), ("B", 0, 48, 24), ("C", 24, 48, 24)])
def test_the_option_decides_where_shortcuts_project(option: str, same: int, wider: int, smaller: int) -> None:
    """4 maps to 4, to 8, and to 4 at stride 2: a 1x1 without bias has w_in * w_out parameters, its BN 2 * w_out."""
    kinds = [shortcut(4, 4, 1, option), shortcut(4, 8, 1, option), shortcut(4, 4, 2, option)]  # type: ignore[arg-type]
    assert [count(kind) for kind in kinds] == [same, wider, smaller]
    assert [tuple(kind(torch.rand(1, 4, 6, 6)).shape[1:]) for kind in kinds] == [(4, 6, 6), (8, 6, 6), (4, 3, 3)]


def test_zeros_can_be_added_at_both_ends() -> None:
    end, both = shortcut(4, 8, 2, "A"), shortcut(4, 8, 2, "A", "both")
    maps = torch.rand(1, 4, 6, 6)
    assert torch.equal(end(maps)[:, :4], both(maps)[:, 2:6])
    assert not torch.equal(end(maps), both(maps))


def test_a_bottleneck_has_the_published_number_of_parameters() -> None:
    block = Bottleneck(256, 64, 256, (1, 1), nn.Identity())
    assert count(block) == 256 * 64 + 9 * 64 * 64 + 64 * 256 + 2 * (64 + 64 + 256) == 70_400


def test_a_bottleneck_matches_its_formula_and_keeps_its_input() -> None:
    torch.manual_seed(0)
    block, maps = Bottleneck(8, 4, 8, (1, 1), nn.Identity(), groups=2).eval(), torch.randn(2, 8, 6, 6)
    before = maps.clone()
    conv1, bn1, _, conv2, bn2, _, conv3, bn3 = block.residual
    expected = functional.relu(bn2(conv2(functional.relu(bn1(conv1(maps))))))
    assert_near(block(maps), functional.relu(bn3(conv3(expected)) + maps))
    assert torch.equal(maps, before)


@pytest.mark.parametrize("strides", [(2, 1), (1, 2)])
def test_the_stride_can_be_in_the_1x1_or_the_3x3(strides: tuple[int, int]) -> None:
    block = Bottleneck(4, 4, 8, strides, shortcut(4, 8, 2, "B"))
    assert [m.stride[0] for m in block.residual if isinstance(m, nn.Conv2d)] == [*strides, 1]
    assert block(torch.rand(1, 4, 7, 7)).shape == (1, 8, 4, 4)


def test_a_pre_activation_unit_matches_its_formula() -> None:
    """Both paths see the activation if the unit projects; otherwise the shortcut is the identity."""
    torch.manual_seed(0)
    for w_out in (4, 6):
        first, second = nn.Conv2d(4, w_out, 3, padding=1, bias=False), nn.Conv2d(w_out, w_out, 3, padding=1, bias=False)
        layers = pre_activation_layers(first, second)
        unit, maps = PreActivation(layers, projection(4, w_out, 1)).eval(), torch.randn(2, 4, 5, 5)
        before = maps.clone()
        activated = functional.relu(layers[0](maps))
        residual = second(functional.relu(layers[3](first(activated))))
        expected = maps + residual if w_out == 4 else unit.shortcut(activated) + residual
        assert_near(unit(maps), expected)
        assert torch.equal(maps, before)
        assert len(unit.shared) == (0 if w_out == 4 else 2)


def test_projections_of_pre_activation_units_have_no_batch_norm() -> None:
    assert isinstance(projection(4, 4, 1), nn.Identity)
    assert count(projection(4, 8, 1)) == 32
    assert count(projection(4, 4, 2)) == 16


@pytest.mark.parametrize("size", [1, 5, 31, 32, 33, 224])
@pytest.mark.parametrize("kernel", [3, 7])
def test_last_side_is_the_side_of_the_maps(size: int, kernel: int) -> None:
    def block(w_in: int, widths: tuple[int, ...], stride: int) -> nn.Module:
        return Bottleneck(w_in, 1, widths[-1], (1, stride), shortcut(w_in, widths[-1], stride, "B"))

    layers = nn.Sequential(stem(3, 2, kernel) | stages(2, (1, 2, 1), ((2,), (3,), (4,)), block))  # type: ignore[arg-type]
    assert last_side(size, 3, kernel) == map_side(layers, size, 3)  # type: ignore[arg-type]


def test_a_size_of_zero_and_an_empty_stage_are_refused() -> None:
    with pytest.raises(ValueError, match="size is 0, but the smallest that works is 1"):
        last_side(0, 3, 3)
    for blocks in ((2, 0), (2,), (2, 2, 2)):
        with pytest.raises(ValueError, match=r"blocks are \(2,.*\); they must be 2 numbers, each at least 1"):
            stages(4, blocks, ((4,), (4,)), lambda w_in, widths, stride: nn.Identity())


def test_the_stems_are_those_of_imagenet_and_cifar() -> None:
    maps = torch.rand(1, 3, 32, 32)
    assert nn.Sequential(stem(3, 4, 7))(maps).shape == (1, 4, 8, 8)
    assert nn.Sequential(stem(3, 4, 3))(maps).shape == (1, 4, 32, 32)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("features.conv1.weight", "conv1.weight"),
        ("features.bn1.running_var", "bn1.running_var"),
        ("features.conv2_x.0.residual.0.weight", "layer1.0.conv1.weight"),
        ("features.conv4_x.22.residual.7.num_batches_tracked", "layer3.22.bn3.num_batches_tracked"),
        ("features.conv3_x.1.residual.4.bias", "layer2.1.bn2.bias"),
        ("features.conv5_x.0.shortcut.1.bias", "layer4.0.downsample.1.bias"),
        ("head.2.bias", "fc.bias"),
    ],
)
def test_names_are_those_of_torchvision(ours: str, theirs: str) -> None:
    assert torchvision_name(ours) == theirs
