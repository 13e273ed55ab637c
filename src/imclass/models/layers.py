"""What networks share: a normalised input, the verbs `forward`, `embed` and `dense`; dropout; the residual block."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from imclass.core.errors import UserError

Images: TypeAlias = Float[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"]
BLOCK = 1 << 20  # elements that dropout treats at a time: what it draws for them stays in the cache


class Network(nn.Module):
    """A network supplies `features` (images to maps) and `head` (maps to scores); the rest is here.

    `size` is the native height and width in pixels. Mean and std are float32 buffers, applied before any cast. A head
    that averages over space does it by `nn.AvgPool2d(side of the native map, stride=1)`, so that `dense` can slide it.
    """

    features: Callable[[Tensor], Tensor]
    head: nn.Sequential
    mean: Tensor
    std: Tensor

    def __init__(self, size: int, w_in: int = 3) -> None:
        super().__init__()
        self.size, self.w_in = size, w_in
        self.register_buffer("mean", torch.zeros(w_in, 1, 1))
        self.register_buffer("std", torch.ones(w_in, 1, 1))

    def normalise(self, mean: Sequence[float] | Float[Tensor, "C H W"], std: Sequence[float]) -> None:
        """Subtract `mean` and divide by `std`, one value or one a channel, of images in [0, 1].

        `mean` may be an image: then the network works at that size only.
        """
        if isinstance(mean, Tensor):
            self.mean = mean.float()
        else:
            self.mean.copy_(torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1).expand_as(self.mean))
        self.std.copy_(torch.tensor(std, dtype=torch.float32).view(-1, 1, 1).expand_as(self.std))

    def prepare(self, images: Images) -> Float[Tensor, "N C H W"]:
        """uint8 divided by 255, floats as they are; then (x - mean) / std in float32; then the weights' precision."""
        if self.mean.shape[-1] not in (1, images.shape[-1]):
            height, width = images.shape[-2:]
            raise UserError(
                f"the network subtracts a mean image of {self.size} x {self.size} pixels and takes images of that size "
                f"alone, not {height} x {width}"
            )
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        return ((scaled - self.mean) / self.std).to(next(self.parameters()).dtype)

    def forward(self, images: Images) -> Float[Tensor, "N K"]:
        """Scores of images at the native size."""
        return self.head(self.features(self.prepare(images)))

    def embed(self, images: Images) -> Float[Tensor, "N D"]:
        """The penultimate vector: all of the head but its last layer."""
        return self.head[:-1](self.features(self.prepare(images)))

    def dense(self, images: Images) -> Float[Tensor, "N K h w"]:
        """The class map of larger images at the final stride: the head applied at every position of the maps.

        Fully connected layers become convolutions (Sermanet et al., OverFeat, ICLR 2014, section 3.5), pooling is
        done at stride 1. At the native size it is `forward`, as 1 x 1 maps.
        """
        maps = self.features(self.prepare(images))
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                side = round((layer.in_features // maps.shape[1]) ** 0.5)
                maps = functional.conv2d(maps, layer.weight.view(layer.out_features, -1, side, side), layer.bias)
            elif isinstance(layer, nn.BatchNorm1d):
                maps = layer(maps.flatten(2)).view_as(maps)
            elif not isinstance(layer, nn.Flatten):
                maps = layer(maps)
        return maps


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al., JMLR 2014), scaled by 1 / (1 - p) while training, with a mask that is cheap on a CPU.

    PyTorch's draws a Bernoulli number an element from a slow generator: a third of a step of `vgg-bn-drop`. Here one
    draw from PyTorch's default generator (so that reseeding that decides the mask) seeds a fast one, and 16 of its bits
    decide on an element: the rate is exact to 1/65536. Elsewhere than on a CPU it is PyTorch's own.
    """

    def forward(self, input: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        dropped = round(self.p * 65536)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < 65536:
            return super().forward(input)
        seed = int(torch.empty((), dtype=torch.int64).random_())
        return Mask.apply(input, dropped, 1 / (1 - self.p), seed)


class Mask(torch.autograd.Function):
    """x * mask * scale; the gradient draws the same mask again, which costs less than to keep it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int, scale: float, seed: int) -> Tensor:
        ctx.options = (memory_format(x), dropped, scale, seed)
        return masked(x, *ctx.options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return masked(gradient, *ctx.options), None, None, None


def memory_format(x: Tensor) -> torch.memory_format:
    """Channels last where `x` is stored so, else contiguous."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def masked(
    x: Float[Tensor, "*any"], order: torch.memory_format, dropped: int, scale: float, seed: int
) -> Float[Tensor, "*any"]:
    """x * scale in the memory order given, with `dropped` of 65536 elements zeroed; `seed` says which."""
    x = x.contiguous(memory_format=order)
    result = torch.empty_like(x)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    generator = np.random.SFC64(seed)
    for part, out in zip(in_memory(x).split(BLOCK), in_memory(result).split(BLOCK), strict=True):
        words = generator.random_raw(-(-len(part) // 4)).view(np.int16)
        kept = torch.from_numpy(words)[: len(part)].ge_(dropped - 32768).neg_()  # all bits of it set, or none
        torch.mul(part, scale, out=out)
        out.view(integer).bitwise_and_(kept.to(integer))  # with a boolean mask, three times as slow
    return result


def in_memory(x: Tensor) -> Float[Tensor, "n"]:
    """A flat view of a dense tensor, in the order in which it is stored."""
    return (x if x.is_contiguous() else x.permute(0, 2, 3, 1)).view(-1)


class BasicBlock(nn.Module):
    """3x3, BN, ReLU, 3x3, BN, + shortcut, ReLU. He et al., CVPR 2016, figure 5 left; convolutions have no bias."""

    def __init__(self, w_in: int, w_out: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(w_in, w_out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(w_out), nn.ReLU(inplace=True),
            nn.Conv2d(w_out, w_out, 3, padding=1, bias=False), nn.BatchNorm2d(w_out),
        )  # fmt: skip
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        return self.relu(self.residual(maps).add_(self.shortcut(maps)))
