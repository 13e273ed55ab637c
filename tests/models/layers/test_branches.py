"""Convolutions, chains and branches against plain formulas, and output widths against a forward pass."""

import numpy as np
import pytest
import torch
from torch import nn

from imclass.models.layers.branches import (
    MEAN_POOL,
    POOL,
    Branches,
    Conv,
    auxiliary_side,
    branches,
    chain,
    layers_up_to,
    maps_out,
    scale_width,
    spec_of,
    stack,
)
from tests.support.tolerance import assert_near


@pytest.mark.parametrize(
    ("conv", "side"),
    [
        (Conv(6, 1), (9, 9)), (Conv(6, 3), (9, 9)), (Conv(6, (1, 7)), (9, 9)), (Conv(6, (7, 1)), (9, 9)),
        (Conv(6, 3, 2), (5, 5)), (Conv(6, 3, valid=True), (7, 7)), (Conv(6, 3, 2, valid=True), (4, 4)),
        (Conv(6, (1, 7), valid=True), (9, 3)),
    ],
)  # fmt: skip
def test_a_convolution_keeps_the_size_unless_valid_or_strided(conv: Conv, side: tuple[int, int]) -> None:
    unit = conv(3, 1.0)
    assert [name for name, _ in unit.named_children()] == ["conv", "bn", "relu"]
    assert unit(torch.zeros(2, 3, 9, 9)).shape == (2, 6, *side)


def test_a_convolution_has_either_batch_norm_or_biases() -> None:
    with_norm, without = Conv(6, 3)(3, 1.0), Conv(6, 3, batch_norm=False)(3, 1.0)
    assert {name: tuple(p.shape) for name, p in with_norm.named_parameters()} == {
        "conv.weight": (6, 3, 3, 3), "bn.weight": (6,), "bn.bias": (6,)
    }  # fmt: skip
    assert [name for name, _ in without.named_parameters()] == ["conv.weight", "conv.bias"]
    assert [m.eps for m in with_norm.modules() if isinstance(m, nn.BatchNorm2d)] == [1e-3]


@pytest.mark.parametrize(
    ("w_out", "width", "expected"),
    [(64, 1.0, 64), (64, 0.5, 32), (64, 0.125, 8), (48, 0.125, 8), (4, 0.5, 4), (100, 0.33, 33), (64, 2.0, 128)],
)
def test_widths_are_scaled_but_not_below_eight(w_out: int, width: float, expected: int) -> None:
    assert scale_width(w_out, width) == expected


def test_branches_are_concatenated_in_order() -> None:
    torch.manual_seed(0)
    block = branches(one=[Conv(4, 1)], pool=[POOL, spec_of(lambda: nn.Upsample(size=6))], two=[Conv(5, 3), Conv(6, 3)])
    module, maps = block(3, 1.0).eval(), torch.rand(2, 3, 6, 6)
    assert isinstance(module, Branches)
    expected = torch.cat([module["one"](maps), module["pool"](maps), module["two"](maps)], dim=1)
    assert torch.equal(module(maps), expected)
    assert module(maps).shape == (2, 4 + 3 + 6, 6, 6)
    reordered = Branches({name: module[name] for name in ("two", "pool", "one")})
    assert not torch.equal(reordered(maps), expected)


def test_a_branch_of_one_layer_is_that_layer_and_longer_ones_are_numbered() -> None:
    module = branches(one=[Conv(4, 1)], two=[MEAN_POOL, Conv(4, 1)])(3, 1.0)
    assert {name.rsplit(".", 2)[0] for name in module.state_dict()} == {"one", "two.1"}


def test_maps_out_is_the_width_of_the_output() -> None:
    fork = branches(a=[Conv(5, (1, 3))], b=[Conv(6, (3, 1))])
    parts = (
        Conv(8, 3),
        MEAN_POOL,
        branches(one=[Conv(7, 1), fork], pool=[MEAN_POOL]),
        branches(x=[fork], y=[Conv(9, 1)]),
    )
    for n in range(len(parts) + 1):
        layers = chain(3, 1.0, *parts[:n])
        assert maps_out(layers, 3) == layers(torch.zeros(2, 3, 8, 8)).shape[1]
    assert maps_out(chain(3, 0.5, *parts), 3) == 5 + 6 + 8  # wider layers keep at least eight maps


def test_a_stack_is_named_and_can_be_cut_after_a_name() -> None:
    layers = stack(3, 1.0, {"first": Conv(4, 3), "second": POOL, "third": Conv(5, 1)})
    assert [name for name, _ in layers.named_children()] == ["first", "second", "third"]
    trunk = layers_up_to(layers, "second")
    assert len(trunk) == 2
    assert trunk[0] is layers[0]  # the same weights, not a copy


def test_the_mean_leaves_padding_out() -> None:
    maps, mean = np.random.default_rng(0).random((1, 2, 4, 5), np.float32), MEAN_POOL(2, 1.0)
    expected = np.empty_like(maps)
    for y in range(4):
        for x in range(5):
            expected[:, :, y, x] = maps[:, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean((2, 3))
    assert_near(mean(torch.from_numpy(maps)).numpy(), expected)
    padded = nn.AvgPool2d(3, 1, padding=1)(torch.from_numpy(maps)).numpy()
    assert_near(padded[:, :, 1:3, 1:4], expected[:, :, 1:3, 1:4])
    assert np.abs(padded[:, :, 0] - expected[:, :, 0]).min() > 0.05


def test_maps_too_small_for_an_auxiliary_head_are_refused_with_the_smallest_size() -> None:
    layers = nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(5, 3))
    assert auxiliary_side(layers, 10, 3) == 1
    assert auxiliary_side(layers, 28, 3) == 4
    with pytest.raises(ValueError, match=r"size is 9, but the smallest that works is 10 with auxiliary heads.*no-aux"):
        auxiliary_side(layers, 9, 3)
