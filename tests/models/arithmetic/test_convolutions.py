"""Narrow 1 x 1 convolutions with a stride: correct numbers without the kernel that writes beyond its buffer."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from imclass.models.arithmetic import convolutions
from imclass.models.arithmetic.convolutions import can_overflow, convolve
from imclass.models.arithmetic.precision import BF16, FP32, Arithmetic, forward, set_memory_format
from tests.support.tolerance import assert_near

CHANNELS_LAST = torch.channels_last


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("order", [torch.contiguous_format, CHANNELS_LAST], ids=str)
@pytest.mark.parametrize(
    ("channels", "groups", "options"),
    [
        (4, 1, {"stride": 2}),
        (4, 1, {"stride": (2, 2), "padding": (0, 0)}),
        (1, 1, {"stride": 2}),
        (15, 1, {"stride": [3, 1], "padding": "valid"}),
        (8, 4, {"stride": 2}),
        (4, 1, {"stride": 2, "padding": 1}),
        (4, 1, {"stride": 1}),
        (16, 1, {"stride": 2}),
    ],
)
def test_the_result_is_the_convolution(
    channels: int, groups: int, options: dict[str, Any], order: torch.memory_format
) -> None:
    """Compare in float64, which PyTorch computes without oneDNN."""
    for height, width in ((8, 8), (7, 9), (1, 1)):
        arguments: list[Any] = [
            draw(3, channels, height, width).contiguous(memory_format=order),
            draw(8, channels // groups, 1, 1, seed=1),
            draw(8, seed=2),
        ]
        ours, theirs = ([each.clone().requires_grad_() for each in arguments] for _ in range(2))
        found = convolve(*ours, groups=groups, **options)  # type: ignore[misc]
        wanted = functional.conv2d(*theirs, groups=groups, **options)  # type: ignore[call-overload]
        assert_near(found, wanted, within=1e-12)
        weights = draw(*wanted.shape, seed=3)
        gradients = [torch.autograd.grad((y * weights).sum(), x) for y, x in ((found, ours), (wanted, theirs))]
        for a, b in zip(*gradients, strict=True):
            assert_near(a, b, within=1e-12)


def test_gradients_keep_their_memory_order() -> None:
    maps = draw(2, 4, 8, 8).float().contiguous(memory_format=CHANNELS_LAST).requires_grad_()
    found = convolve(maps * 1, draw(8, 4, 1, 1).float(), stride=2)
    assert found.is_contiguous(memory_format=CHANNELS_LAST)
    assert torch.autograd.grad(found.square().sum(), maps)[0].is_contiguous(memory_format=CHANNELS_LAST)


@pytest.mark.parametrize(
    ("weight", "stride", "padding", "expected"),
    [
        ((8, 15, 1, 1), (2, 2), (0, 0), True),
        ((8, 15, 1, 1), (1, 2), "valid", True),
        ((8, 16, 1, 1), (2, 2), (0, 0), False),
        ((8, 15, 1, 1), (1, 1), (0, 0), False),
        ((8, 15, 1, 1), 2, 1, False),
        ((8, 15, 3, 3), 2, 0, False),
        ((8, 15, 1, 3), 2, 0, False),
    ],
)
def test_the_rule_covers_narrow_strided_1x1_convolutions(
    weight: tuple[int, ...], stride: Any, padding: Any, expected: bool
) -> None:
    assert can_overflow(torch.zeros(1, weight[1], 8, 8), torch.zeros(weight), stride, padding) == expected


class Plugin(nn.Module):
    """A network with shortcuts as a plugin may write them: by layer and by function, on images and narrow maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 1, 2), nn.Conv2d(12, 8, 1, stride=(2, 2), bias=False)
        self.third = nn.Parameter(draw(4, 8, 1, 1).float())

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.second(functional.relu(self.first(images))))
        return functional.conv2d(maps, self.third, stride=2).mean((2, 3))


class ConvolutionRecorder(TorchDispatchMode):
    """A mode that records the arguments of convolutions where PyTorch dispatches them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Sequence[Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.calls.append(args)
        return func(*args, **(kwargs or {}))

    def dangerous(self) -> Iterator[tuple[int, ...]]:
        """Yield the weights' shapes of the convolutions that oneDNN's issue 6035 is about."""
        for maps, weight, _, stride, *_ in self.calls:
            last = any(each.is_contiguous(memory_format=CHANNELS_LAST) for each in (maps, weight))
            if last and weight.shape[1] < 16 and weight.shape[2:] == (1, 1) and max(stride) > 1:
                yield tuple(weight.shape)


def dangerous_shapes(arithmetic: Arithmetic) -> list[tuple[int, ...]]:
    """Return the weights' shapes of the dangerous convolutions in a forward pass."""
    network = set_memory_format(Plugin(), arithmetic)
    with ConvolutionRecorder() as recorder:
        forward(network, draw(8, 3, 32, 32).float(), arithmetic)
    assert len(recorder.calls) == 3
    return list(recorder.dangerous())


@pytest.mark.parametrize("arithmetic", [FP32[1], *BF16], ids=str)
def test_no_dangerous_convolution_reaches_pytorch(arithmetic: Arithmetic, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dangerous_shapes(arithmetic) == []
    monkeypatch.setattr(convolutions, "can_overflow", lambda *args: False)  # the twin: without the rule all three do
    assert dangerous_shapes(arithmetic) == [(12, 3, 1, 1), (8, 12, 1, 1), (4, 8, 1, 1)]


# It runs in a process of its own, because a wrong kernel may end the process or change its memory.
CHILD = """
import torch
from torch.nn import functional
from imclass.models.arithmetic.precision import BF16, FP32, forward, set_memory_format, probe

def relative(found, exact):
    return ((found - exact).square().mean() / exact.square().mean()).sqrt().item()

for channels, side in ((3, 16), (4, 16), (7, 32), (12, 128), (15, 64)):
    images = torch.randn(8, channels, side, side)
    for arithmetic, tolerance in ((FP32[0], 1e-5), (FP32[1], 1e-5), (BF16[0], 0.05)):
        layer = set_memory_format(torch.nn.Conv2d(channels, 8, 1, 2, bias=False), arithmetic)
        found = forward(layer, images, arithmetic)
        weights = torch.randn(found.shape)
        (found.float() * weights).sum().backward()
        exact = layer.weight.detach().double().requires_grad_()
        (functional.conv2d(images.double(), exact, None, 2) * weights).sum().backward()
        difference = relative(layer.weight.grad, exact.grad)
        assert difference < tolerance, (channels, side, str(arithmetic), difference)
    network = torch.nn.Sequential(layer, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    probe(network, images, torch.arange(8))
print("alive")
"""


@pytest.mark.parametrize("instructions", ["AVX2", "DEFAULT"])
def test_a_process_that_trains_such_layers_survives_with_correct_gradients(instructions: str) -> None:
    """Train them in a child, which a signal kills without the rule.

    With AVX2 that happens for 2 to 7 channels, with AVX-512 for up to 15 on large maps.
    """
    limited = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"} if instructions == "AVX2" else {}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=os.environ | limited, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
