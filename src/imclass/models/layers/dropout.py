"""Dropout with a mask that is fast to draw on a CPU."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BLOCK_ELEMENTS = 1 << 20  # elements masked at a time, few enough for their random words to stay in the CPU cache


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al., JMLR 2014) with a mask that is fast to draw on a CPU.

    In training, the elements that are not dropped are multiplied by 1 / (1 - p).

    PyTorch draws a Bernoulli sample for each element from a slow generator, which takes up much of a `vgg-bn-drop`
    training step. Here a single draw from PyTorch's default generator seeds a fast one, so PyTorch's seed still
    determines the mask. The fast generator provides 16 bits per element, so the rate is accurate to 1/65536. On other
    devices, PyTorch's own dropout is used.
    """

    def forward(self, input: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        dropped = round(self.p * 65536)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < 65536:
            return super().forward(input)
        seed = int(torch.empty((), dtype=torch.int64).random_())
        return Mask.apply(input, dropped, 1 / (1 - self.p), seed)


class Mask(torch.autograd.Function):
    """The product x * mask * scale. The backward pass draws the mask again, which costs less than keeping it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int, scale: float, seed: int) -> Tensor:
        ctx.options = (memory_format(x), dropped, scale, seed)
        return apply_mask(x, *ctx.options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return apply_mask(gradient, *ctx.options), None, None, None


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the channels-last format if `x` is stored in that order, else the contiguous format."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def apply_mask(
    x: Float[Tensor, "*any"], order: torch.memory_format, dropped: int, scale: float, seed: int
) -> Float[Tensor, "*any"]:
    """Return x * scale in the given memory order, with some elements set to 0.

    On average, `dropped` of every 65536 elements are set to 0. `seed` determines which ones.
    """
    x = x.contiguous(memory_format=order)
    result = torch.empty_like(x)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    generator = np.random.SFC64(seed)
    for part, out in zip(flat_view(x).split(BLOCK_ELEMENTS), flat_view(result).split(BLOCK_ELEMENTS), strict=True):
        words = generator.random_raw(-(-len(part) // 4)).view(np.int16)  # a word of 64 bits serves four elements
        # A word becomes 1 or 0, and negation turns that into all ones or all zeros: a mask for the element's bits.
        kept = torch.from_numpy(words)[: len(part)].ge_(dropped - 32768).neg_()
        torch.mul(part, scale, out=out)
        out.view(integer).bitwise_and_(kept.to(integer))  # faster than multiplying by a boolean mask
    return result


def flat_view(x: Tensor) -> Float[Tensor, "n"]:
    """Return a flat view of a dense tensor in the order in which it is stored."""
    return (x if x.is_contiguous() else x.permute(0, 2, 3, 1)).view(-1)
