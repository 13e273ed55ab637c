"""What networks share: a normalised input, the verbs `forward`, `embed` and `dense`; dropout; the residual block."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from imclass.core.errors import UserError
from imclass.core.precision import PLAIN

Images: TypeAlias = Float[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"]
BLOCK = 1 << 20  # elements that dropout treats at a time: what it draws for them stays in the cache
COLUMNS = 1 << 24  # elements of the windows that `slide` lays out at a time


class Network(nn.Module):
    """A network supplies `features` (images to maps) and `head` (maps to scores); the rest is here.

    `size` is the native height and width in pixels. Mean and std are float32 buffers, applied before any cast. A head
    that averages over space does it by `nn.AvgPool2d(side of the native map, stride=1)`, so that `dense` can slide it.
    `sides` are auxiliary heads on the outputs of the children of `features` that bear their names. They take part in
    training only, where the loss counts each with `side_weight`, and are no part of the parameters that are told.
    """

    features: nn.Sequential
    head: nn.Sequential
    mean: Tensor
    std: Tensor
    side_weight = 0.3
    arithmetic = PLAIN  # in which it is evaluated; training has its own
    dilation = 1  # of the window that the head looks at in `dense`: above 1 in OverFeat's fine form, see surgery.py

    def __init__(self, size: int, w_in: int = 3) -> None:
        super().__init__()
        self.size, self.w_in = size, w_in
        self.sides = nn.ModuleDict()
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

    def forward(self, images: Images) -> Float[Tensor, "N K"] | tuple[Float[Tensor, "N K"], ...]:
        """Scores of images at the native size; while training, followed by those of each auxiliary head."""
        self.check_size(images, exactly=True)
        maps = self.prepare(images)
        if not (self.training and self.sides):
            return self.head(self.coarse(self.features(maps)))
        scores = []
        for name, layer in self.features.named_children():
            maps = layer(maps)
            if name in self.sides:
                scores.append(self.sides[name](maps))
        return self.head(maps), *scores

    def embed(self, images: Images) -> Float[Tensor, "N D"]:
        """The penultimate vector: what the last layer with weights sees, its mean where that is a map."""
        self.check_size(images, exactly=True)
        last = max(i for i, layer in enumerate(self.head) if any(True for _ in layer.parameters()))
        vector = self.head[:last](self.coarse(self.features(self.prepare(images))))
        return vector if vector.dim() == 2 else vector.mean((2, 3))

    def dense(self, images: Images) -> Float[Tensor, "N K h w"]:
        """The class map of larger images at the final stride: the head applied at every position of the maps.

        Fully connected layers become convolutions (Sermanet et al., OverFeat, ICLR 2014, section 3.5), pooling is
        done at stride 1. At the native size it is `forward`, as 1 x 1 maps.
        """
        self.check_size(images, exactly=False)
        maps, dilation = self.features(self.prepare(images)), self.dilation
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                maps, dilation = slide(maps, layer, dilation), 1
            elif isinstance(layer, nn.AvgPool2d) and dilation > 1:
                maps, dilation = spread_mean(maps, int(np.max(layer.kernel_size)), dilation), 1
            elif isinstance(layer, nn.BatchNorm1d):
                maps = layer(maps.flatten(2)).view_as(maps)
            elif not isinstance(layer, nn.Flatten):
                maps = layer(maps)
        return maps

    def coarse(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C h w"]:
        """Of maps in the fine form, those positions that the head is made for."""
        return maps if self.dilation == 1 else maps[:, :, :: self.dilation, :: self.dilation]

    def check_size(self, images: Images, exactly: bool) -> None:
        """Images of a size that the network cannot take are a `UserError` that says which it can."""
        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size) or (not exactly and min(height, width) >= self.size):
            return
        if exactly:
            raise UserError(
                f"the network takes {self.size} x {self.size} pixels, not {height} x {width}; larger images go through "
                "a dense protocol"
            )
        least = smallest(self.features, self.size, self.w_in, map_side(self.features, self.size, self.w_in))
        if min(height, width) < least:
            raise UserError(f"an image of {height} x {width} pixels is too small: the smallest side is {least}")


def slide(maps: Float[Tensor, "N C H W"], layer: nn.Linear, dilation: int = 1) -> Float[Tensor, "N D h w"]:
    """A fully connected layer on maps of a native size, applied at every position of larger ones.

    It is a convolution with `layer`'s own weights, but done as matrix products of a few rows of windows at a time:
    for VGG's 7 x 7 x 512 x 4096 kernel, a convolution would first make a copy of it in another order.
    """
    side = round((layer.in_features // maps.shape[1]) ** 0.5)
    if side == 1:
        return functional.linear(maps.permute(0, 2, 3, 1), layer.weight, layer.bias).permute(0, 3, 1, 2)
    reach = dilation * (side - 1)
    height, width = maps.shape[2] - reach, maps.shape[3] - reach
    rows = max(1, COLUMNS // (len(maps) * width * layer.in_features))
    strips = []
    for top in range(0, height, rows):
        windows = functional.unfold(maps[:, :, top : top + rows + reach], side, dilation)
        scores = functional.linear(windows.transpose(1, 2), layer.weight, layer.bias)
        strips.append(scores.transpose(1, 2).unflatten(2, (-1, width)))
    return torch.cat(strips, dim=2)


def spread_mean(maps: Float[Tensor, "N C H W"], side: int, dilation: int) -> Float[Tensor, "N C h w"]:
    """The mean over side x side values that lie `dilation` apart, at every position."""
    kernel = maps.new_full((maps.shape[1], 1, side, side), 1 / side**2)
    return functional.conv2d(maps, kernel, dilation=dilation, groups=maps.shape[1])


def map_side(features: nn.Module, size: int, w_in: int) -> int:
    """Height and width of the maps that `features` makes of size x size pixels.

    Where nothing is left of them it is a ValueError that names the smallest size that works. Nothing is computed.
    """
    side = side_or_none(features, size, w_in)
    if side is None:
        raise ValueError(f"size is {size}, and the smallest that works is {smallest(features, size, w_in)}")
    return side


def smallest(features: nn.Module, size: int, w_in: int, side: int = 1) -> int:
    """The smallest image, in pixels a side, of which maps of at least `side` are left; by bisection."""
    low, high = 0, max(size, 1)
    while (side_or_none(features, high, w_in) or 0) < side:
        low, high = high, 2 * high
        if high > 1 << 14:
            raise ValueError("no size works: the layers do not fit together")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (side_or_none(features, middle, w_in) or 0) >= side else (middle, high)
    return high


def side_or_none(features: nn.Module, size: int, w_in: int) -> int | None:
    """The side of the maps, or None where a layer finds too little to work on."""
    was, state = features.training, {k: v.to("meta") for k, v in features.state_dict(keep_vars=True).items()}
    try:
        features.eval()
        with Unnormalised():
            maps = torch.func.functional_call(features, state, (torch.empty(1, w_in, size, size, device="meta"),))
        return int(maps.shape[-1]) or None
    except RuntimeError:
        return None
    finally:
        features.train(was)


class Unnormalised(TorchFunctionMode):
    """Batch norms are passed over. They change no shape, and on the "meta" device PyTorch takes longest over them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not functional.batch_norm:
            return func(*args, **(kwargs or {}))
        maps, mean = args[:2]
        if mean is not None and len(mean) != maps.shape[1]:
            raise ValueError(f"a batch norm of {len(mean)} maps gets {maps.shape[1]}")
        return maps


def local_response_norm(
    maps: Float[Tensor, "N C H W"], n: int, k: float, alpha: float, beta: float
) -> Float[Tensor, "N C H W"]:
    """x / (k + alpha * sum of squares over n neighbouring channels) ** beta (Krizhevsky et al. 2012, section 3.3)."""
    wide, channels = maps if maps.dtype == torch.float64 else maps.float(), maps.shape[1]
    squares = functional.pad(wide.square(), (0, 0, 0, 0, n // 2, (n - 1) // 2))
    sums = squares[:, :channels].clone()
    for first in range(1, n):  # faster than pooling over channels
        sums.add_(squares[:, first : first + channels])
    return maps / ((k + alpha * sums) ** beta).to(maps.dtype)


class LocalResponseNorm(nn.Module):
    """Local response normalisation over channels, with the paper's constants: alpha multiplies the sum.

    Caffe and PyTorch divide alpha by n: their alpha of 1e-4 is 2e-5 here, the paper's 1e-4 is 5e-4 there.
    """

    def __init__(self, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> None:
        super().__init__()
        self.n, self.k, self.alpha, self.beta = n, k, alpha, beta

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return local_response_norm(maps, self.n, self.k, self.alpha, self.beta)


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al., JMLR 2014), scaled by 1 / (1 - p) while training, with a mask that is cheap on a CPU.

    PyTorch's draws a Bernoulli number an element from a slow generator, much of a step of `vgg-bn-drop`. Here one
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
        out.view(integer).bitwise_and_(kept.to(integer))  # faster than a multiplication by a boolean mask
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


def fully_connected(
    w_in: int, hidden: Sequence[int], classes: int, first: int = 6, drop_inputs: bool = False
) -> nn.Sequential:
    """[FC, ReLU, dropout] x n, FC: how AlexNet ends, and those that followed it, from their layer number `first` on.

    Dropout is 0.5, of what each hidden layer gives out, or with `drop_inputs` of what it takes.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for n, units in enumerate(hidden, first):
        layer: dict[str, nn.Module] = {f"fc{n}": nn.Linear(w_in, units), f"relu{n}": nn.ReLU(inplace=True)}
        drop: dict[str, nn.Module] = {f"drop{n}": Dropout(0.5)}
        layers.update(drop | layer if drop_inputs else layer | drop)
        w_in = units
    layers[f"fc{first + len(hidden)}"] = nn.Linear(w_in, classes)
    return nn.Sequential(layers)
