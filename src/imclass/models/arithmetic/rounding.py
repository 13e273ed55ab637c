"""Convolutions and linear layers that compute in bf16 with weights stored in float32, and their gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from imclass.models.arithmetic.convolutions import convolve

# If the output has at most this many positions, the gradient of the weights is computed as a matrix product. For larger
# outputs this is slower (measured by benchmarks/small_maps.py).
MAX_POSITIONS = 4


class Bf16Rounding(TorchFunctionMode):
    """A mode in which convolutions and linear layers round their inputs and weights to bf16.

    Other operations, such as normalisation and losses, are unchanged. Gradients are computed for the float32 weights.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func is torch.conv2d or func is functional.linear:
            args = [round_to_bf16(argument) for argument in args]
            named = {name: round_to_bf16(argument) for name, argument in named.items()}
        if func is torch.conv2d:
            # Layers pass all options by position. A call with keywords, such as a plugin's, uses the general function.
            small = not named and has_few_positions(*args)
            return SmallMaps.apply(*args[:5]) if small else convolve(*args, **named)
        return func(*args, **named)


def round_to_bf16(argument: Any) -> Any:
    """Return a tensor rounded to bf16, or any other argument unchanged."""
    return argument.bfloat16() if isinstance(argument, Tensor) else argument


def has_few_positions(maps: Tensor, weight: Tensor, bias: Tensor | None = None, *options: Any) -> bool:
    """Return whether a matrix product is the faster way to compute the gradient of the weights.

    This holds for small outputs on a CPU. `options` contains the stride, padding, dilation and groups in the form in
    which `nn.Conv2d` passes them. For options in any other form, return False.
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
    """A convolution that computes the gradient of its weights as a matrix product.

    The two factors are the input windows and the gradient of the output.
    """

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
            inputs = windows(maps, (height, width), stride, padding).reshape(len(rows), -1)
            of_weight = (rows.t() @ inputs).view(len(weight), height, width, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_maps, of_weight, of_bias, None, None


def windows(
    maps: Float[Tensor, "N C H W"], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Float[Tensor, "N H2 W2 h w C"]:
    """Return all input windows of a convolution, as a view of the padded maps with the channels last."""
    (height, width), (down, right), (top, left) = kernel, stride, padding
    padded = functional.pad(maps.permute(0, 2, 3, 1), (0, 0, left, left, top, top))
    return padded.unfold(1, height, down).unfold(2, width, right).permute(0, 1, 2, 4, 5, 3)
