"""A replacement for convolutions whose gradients make oneDNN write outside a buffer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# The number of channels in an AVX-512 vector register. An AVX2 register holds 8, but 16 is used on every CPU.
REGISTER_CHANNELS = 16


class OverflowGuard(TorchFunctionMode):
    """A mode that replaces `torch.conv2d` with `convolve`, which avoids the faulty kernels."""

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
    """Compute `torch.conv2d` without the kernels that can overflow a buffer.

    If `can_overflow` is true, every stride-th position of the input is selected first, and a convolution with stride 1
    then returns the same numbers. The positions are selected by average pooling over single positions, which works in
    either memory order. Slicing would select the same positions, but its gradient would not keep the memory order.
    """
    if can_overflow(input, weight, stride, padding):
        return torch.conv2d(
            functional.avg_pool2d(input, 1, [*as_sequence(stride)]), weight, bias, 1, 0, dilation, groups
        )
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def can_overflow(maps: Tensor, weight: Tensor, stride: int | Sequence[int], padding: int | Sequence[int] | str) -> bool:
    """Return whether oneDNN may compute the gradient of the weights with a kernel that writes beyond its buffer.

    The kernels are jit_1x1:avx2, jit_1x1:avx512_core and jit_bf16_1x1:avx512_core of oneDNN 3.12.0, which is in PyTorch
    2.13.0 (oneDNN issue 6035, open in September 2026). In a strided 1 x 1 convolution of channels-last maps, the buffer
    has room for only the channels of each position, but the kernel writes the positions one full register apart. The
    process then aborts, hangs or silently overwrites other memory. oneDNN's choice of kernel also depends on the height
    and width of the maps and on the strides. This function does not check these, since the replacement costs nothing.
    """
    if maps.device.type != "cpu" or weight.shape[1] >= REGISTER_CHANNELS or weight.shape[2:].numel() > 1:
        return False
    return any(each != 1 for each in as_sequence(stride)) and (padding == "valid" or not any(as_sequence(padding)))


def as_sequence(option: int | Sequence[int] | str) -> Sequence[Any]:
    """Return a convolution's option as a sequence. A single number becomes a list with one element."""
    return [option] if isinstance(option, int) else option
