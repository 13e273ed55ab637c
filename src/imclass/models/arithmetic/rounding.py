"""Convolutions and linear layers in bf16 over weights that stay in float32, and their gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from imclass.models.arithmetic.convolutions import convolve

# Positions of a map up to which the weights' gradient is a matrix product; benchmarks/small_maps.py says why.
MAX_POSITIONS = 4


class Bf16Rounding(TorchFunctionMode):
    """While it is active, convolutions and linear layers round what they get, their weights included, to bf16.

    Only these calls are changed, so that normalisation, losses and whatever else a network does stay as they are.
    Gradients reach the float32 weights.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func is torch.conv2d or func is functional.linear:
            args, named = (
                [round_to_bf16(each) for each in args],
                {name: round_to_bf16(each) for name, each in named.items()},
            )
        if func is torch.conv2d:
            small = not named and has_few_positions(*args)
            return SmallMaps.apply(*args[:5]) if small else convolve(*args, **named)
        return func(*args, **named)


def round_to_bf16(argument: Any) -> Any:
    """A tensor in bf16; anything else as it is."""
    return argument.bfloat16() if isinstance(argument, Tensor) else argument


def has_few_positions(maps: Tensor, weight: Tensor, bias: Tensor | None = None, *options: Any) -> bool:
    """Whether the weights' gradient is better a matrix product: on a CPU, where the maps have become small.

    `options` are stride, padding, dilation and groups as `nn.Conv2d` gives them; anything else is left to PyTorch.
    """
    if maps.device.type != "cpu" or weight.shape[-1] == 1 or options[2:] != ((1, 1), 1):
        return False
    stride, padding = options[:2]
    if isinstance(padding, str):
        return False
    height, width = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(maps.shape[2:], padding, weight.shape[2:], stride, strict=True)
    )
    return height * width <= MAX_POSITIONS


class SmallMaps(torch.autograd.Function):
    """A convolution whose weights' gradient is the product of its output's gradient and the windows it has seen."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: BFloat16[Tensor, "N C H W"],
        weight: BFloat16[Tensor, "D C h w"],
        bias: BFloat16[Tensor, "D"] | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> BFloat16[Tensor, "N D H2 W2"]:
        ctx.save_for_backward(maps, weight)
        ctx.options = (stride, padding)
        return torch.conv2d(maps, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        (maps, weight), (stride, padding) = ctx.saved_tensors, ctx.options
        of_maps = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_maps = torch.ops.aten.convolution_backward(
                gradient, maps, weight, None, stride, padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, len(weight))
        if ctx.needs_input_grad[1]:
            height, width = weight.shape[2:]
            seen = windows(maps, (height, width), stride, padding).reshape(len(rows), -1)
            of_weight = (rows.t() @ seen).view(len(weight), height, width, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_maps, of_weight, of_bias, None, None


def windows(
    maps: Float[Tensor, "N C H W"], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Float[Tensor, "N H2 W2 h w C"]:
    """Every window that a convolution looks at, as a view of the padded maps, channels last."""
    (height, width), (down, right), (top, left) = kernel, stride, padding
    padded = functional.pad(maps.permute(0, 2, 3, 1), (0, 0, left, left, top, top))
    return padded.unfold(1, height, down).unfold(2, width, right).permute(0, 1, 2, 4, 5, 3)
