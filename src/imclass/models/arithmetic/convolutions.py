"""Convolutions whose gradient oneDNN computes outside its own memory, by a way that it computes well."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Channels that a vector register of AVX-512 holds. With AVX2 it holds 8; the rule is the same on every CPU.
REGISTER_CHANNELS = 16


class OverflowGuard(TorchFunctionMode):
    """While it is active, no convolution reaches the kernel that `overflows` describes."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return (convolve if func is torch.conv2d else func)(*args, **(kwargs or {}))


def convolve(
    input: Float[Tensor, "*N C H W"],
    weight: Float[Tensor, "D c h w"],
    bias: Float[Tensor, "D"] | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Float[Tensor, "*N D H2 W2"]:
    """Convolve as `torch.conv2d` does, and where its gradient `overflows` take every stride-th position beforehand.

    Pooling over single positions does that in either memory order, and its gradient keeps the order; slicing's does
    not. What is left is a convolution of stride 1, which gives the same numbers.
    """
    if can_overflow(input, weight, stride, padding):
        return torch.conv2d(
            functional.avg_pool2d(input, 1, [*as_sequence(stride)]), weight, bias, 1, 0, dilation, groups
        )
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def can_overflow(maps: Tensor, weight: Tensor, stride: int | Sequence[int], padding: int | Sequence[int] | str) -> bool:
    """Return whether the weights' gradient may be left to a kernel of oneDNN that writes beyond its buffer.

    These are jit_1x1:avx2, jit_1x1:avx512_core and jit_bf16_1x1:avx512_core of oneDNN 3.12.0, which is in PyTorch
    2.13.0 (oneDNN's issue 6035, open in September 2026). For maps in channels last that a 1 x 1 convolution strides
    over, their buffer has as many numbers a position as there are channels, but they space positions by a whole
    register. The process then aborts or hangs, or other memory changes silently. Whether a kernel is taken depends on
    sides and strides as well; the rule leaves that out, since what it asks for costs nothing.
    """
    if maps.device.type != "cpu" or weight.shape[1] >= REGISTER_CHANNELS or weight.shape[2:].numel() > 1:
        return False
    return any(each != 1 for each in as_sequence(stride)) and (padding == "valid" or not any(as_sequence(padding)))


def as_sequence(option: int | Sequence[int] | str) -> Sequence[Any]:
    """Return an option of a convolution as a sequence, given as one or as a single number for height and width."""
    return [option] if isinstance(option, int) else option
