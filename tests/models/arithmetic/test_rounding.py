"""Convolutions and linear layers in bf16: rounding, and the two algorithms for the weights' gradient."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.arithmetic import rounding
from imclass.models.arithmetic.rounding import Bf16Rounding, SmallMaps, has_few_positions, windows
from tests.support.tolerance import assert_near

ONE = (1, 1)


def draw(*shape: int, seed: int = 0, last: bool = True) -> Tensor:
    """Return normal numbers that bf16 can represent exactly."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(shape, generator=generator).bfloat16().float()
    return numbers.contiguous(memory_format=torch.channels_last) if last and len(shape) == 4 else numbers


def test_only_convolutions_and_linear_layers_round() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    types: list[tuple[str, torch.dtype]] = []
    for layer in network:
        layer.register_forward_hook(lambda m, inputs, out: types.append((type(m).__name__, out.dtype)))
    with Bf16Rounding():
        images = torch.rand(2, 3, 8, 8)
        network(images)
        assert (images * images).dtype == torch.float32
        assert functional.conv2d(images, torch.rand(4, 3, 3, 3), None, 1, "same").dtype == torch.bfloat16
        assert functional.conv2d(images, weight=torch.rand(4, 3, 3, 3), bias=torch.rand(4)).dtype == torch.bfloat16
    kinds = {"Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear"}
    assert {name for name, dtype in types if dtype == torch.bfloat16} == kinds  # later layers keep the type
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert network(images).dtype == torch.float32  # and afterwards nothing is rounded


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "NCHW"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        ((3, 3), ONE, ONE, (2, 2)),
        ((3, 3), (2, 2), ONE, (7, 8)),
        ((5, 3), (2, 1), (0, 1), (7, 3)),
        ((2, 2), ONE, (0, 0), (4, 5)),
    ],
)
def test_gradients_of_small_maps_are_those_of_the_convolution(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], size: tuple[int, int], last: bool
) -> None:
    """Compare with PyTorch's gradients in float64."""
    inputs = [draw(3, 6, *size, last=last), draw(5, 6, *kernel, seed=1, last=last), draw(5, seed=2)]
    ours = [each.clone().requires_grad_() for each in inputs]
    exact = [each.double().requires_grad_() for each in inputs]
    found = SmallMaps.apply(*(each.bfloat16() for each in ours), stride, padding)
    maps, weight, bias = exact
    wanted = functional.conv2d(maps, weight, bias, stride, padding)
    weights = draw(*wanted.shape, seed=3)
    (found.float() * weights).sum().backward()
    (wanted * weights).sum().backward()
    assert_near(found.double(), wanted, within=0.03)  # bf16 rounds by up to 0.004, three times
    for a, b in zip(ours, exact, strict=True):
        assert a.grad is not None and b.grad is not None and a.grad.dtype == torch.float32
        assert_near(a.grad.double(), b.grad, within=0.03)


def test_only_small_maps_use_the_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    real = SmallMaps.apply

    def record(maps: Tensor, *others: Any) -> Any:
        shapes.append(tuple(maps.shape))
        return real(maps, *others)

    monkeypatch.setattr(rounding.SmallMaps, "apply", record)
    layer, wide = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=2, dilation=2)
    with Bf16Rounding():
        for side in (2, 3, 4):
            layer(torch.rand(1, 4, side, side))
        wide(torch.rand(1, 4, 2, 2))
        nn.Conv2d(4, 4, 1)(torch.rand(1, 4, 2, 2))
        nn.Conv2d(4, 4, 3, padding=1, groups=2)(torch.rand(1, 4, 2, 2))
        nn.Conv2d(4, 4, 3, stride=2, padding=1)(torch.rand(1, 4, 4, 4))
    assert shapes == [(1, 4, 2, 2), (1, 4, 4, 4)]


@pytest.mark.parametrize("needed", range(3), ids=["maps", "weight", "bias"])
def test_only_the_gradients_that_are_needed_are_computed(needed: int) -> None:
    inputs = [draw(2, 4, 3, 3).bfloat16(), draw(4, 4, 3, 3).bfloat16(), draw(4).bfloat16()]
    inputs[needed].requires_grad_()
    SmallMaps.apply(*inputs, ONE, ONE).float().sum().backward()
    assert [each.grad is not None for each in inputs] == [i == needed for i in range(3)]


def test_windows_agree_with_unfold() -> None:
    maps = draw(2, 3, 6, 7)
    found: Any = windows(maps, (3, 2), (2, 1), (1, 0))
    oracle = functional.unfold(maps, (3, 2), padding=(1, 0), stride=(2, 1))  # N, C h w, positions
    n, height, width = found.shape[:3]
    torch.testing.assert_close(found.permute(0, 5, 3, 4, 1, 2).reshape(n, -1, height * width), oracle, rtol=0, atol=0)


def test_other_devices_leave_small_maps_to_pytorch() -> None:
    maps, weight = torch.empty(1, 4, 2, 2, device="meta"), torch.empty(4, 4, 3, 3, device="meta")
    assert not has_few_positions(maps, weight, None, ONE, ONE, ONE, 1)
