"""What Inception networks are made of: convolutions, chains of them, and blocks of branches side by side.

A network is told as data: a `Part` makes a layer once it knows how many maps come in.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.models.layers.sizes import map_side

LayerSpec: TypeAlias = Callable[[int, float], nn.Module]  # (w_in, width): widths of its own are multiplied by `width`


@dataclass(frozen=True)
class Conv:
    """A `Part`: convolution, BN (eps 1e-3), ReLU; padded to keep the size at stride 1 unless `valid`.

    Without `batch_norm` the convolution has biases instead. Google's code has BN shift and not scale, and keep 0.9997
    of its running statistics a step; here, as in torchvision, it does both and keeps 0.9.
    """

    w_out: int
    kernel: int | tuple[int, int]  # height and width where they differ
    stride: int = 1
    valid: bool = False
    batch_norm: bool = True

    def __call__(self, w_in: int, width: float) -> nn.Sequential:
        w_out, (height, wide) = scale_width(self.w_out, width), kernel_sides(self.kernel)
        padding = (0, 0) if self.valid else (height // 2, wide // 2)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = nn.Conv2d(w_in, w_out, (height, wide), self.stride, padding, bias=not self.batch_norm)
        if self.batch_norm:
            layers["bn"] = nn.BatchNorm2d(w_out, eps=1e-3)
        layers["relu"] = nn.ReLU(inplace=True)
        return nn.Sequential(layers)


def scale_width(w_out: int, width: float) -> int:
    """`w_out` maps or units, multiplied by `width`: at least 8 unless it is fewer itself."""
    return max(min(w_out, 8), round(w_out * width))


def kernel_sides(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a kernel."""
    return kernel if isinstance(kernel, tuple) else (kernel, kernel)


def spec_of(make: Callable[[], nn.Module]) -> LayerSpec:
    """A `Part` of a layer that has no weights, such as a pooling."""
    return lambda w_in, width: make()


POOL = spec_of(lambda: nn.MaxPool2d(3, 2))  # 3x3/2, whole windows only
MEAN_POOL = spec_of(lambda: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False))  # 3x3, of the values that are there


class Branches(nn.ModuleDict):
    """Each branch on the same maps, and their results side by side. Szegedy et al., CVPR 2015, figure 2."""

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        return torch.cat([branch(maps) for branch in self.values()], dim=1)


def branches(**parts: Sequence[LayerSpec]) -> LayerSpec:
    """A `Part` of `Branches` by name: each a chain, or a single part by itself."""
    return lambda w_in, width: Branches(
        {
            name: branch[0](w_in, width) if len(branch) == 1 else chain(w_in, width, *branch)
            for name, branch in parts.items()
        }
    )


def chain(w_in: int, width: float, *parts: LayerSpec) -> nn.Sequential:
    """One part after the other, by number."""
    return stack(w_in, width, {str(i): part for i, part in enumerate(parts)})


def stack(w_in: int, width: float, parts: Mapping[str, LayerSpec]) -> nn.Sequential:
    """One part after the other, by name."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, part in parts.items():
        layers[name] = part(w_in, width)
        w_in = maps_out(layers[name], w_in)
    return nn.Sequential(layers)


def maps_out(layer: nn.Module, w_in: int) -> int:
    """How many maps a layer, chain or block makes of `w_in`."""
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels
    if isinstance(layer, Branches):
        return sum(maps_out(branch, w_in) for branch in layer.values())
    if isinstance(layer, nn.Sequential):
        for child in layer:
            w_in = maps_out(child, w_in)
    return w_in


def layers_up_to(features: nn.Sequential, name: str) -> nn.Sequential:
    """The children of `features` up to and with this one: what an auxiliary head hangs on."""
    names = [child for child, _ in features.named_children()]
    return nn.Sequential(*list(features)[: names.index(name) + 1])


def auxiliary_side(layers: nn.Sequential, size: int, w_in: int) -> int:
    """Side of the maps of an auxiliary head, whose `layers` begin with the trunk.

    A ValueError names the smallest size that works and how to do without the head.
    """
    try:
        return map_side(layers, size, w_in)
    except ValueError as error:
        raise ValueError(f"{error} with auxiliary heads; without them (--model.no-aux) smaller ones do") from None
