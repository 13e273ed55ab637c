"""Parts of Inception networks: convolutions, chains of layers, and blocks of parallel branches.

A network is described by `LayerSpec`s. Each `LayerSpec` builds a layer once the number of input maps is known.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.models.layers.sizes import map_side

# Builds a layer from `w_in`, the number of input maps, and `width`, a multiplier for output widths.
LayerSpec: TypeAlias = Callable[[int, float], nn.Module]


@dataclass(frozen=True)
class Conv:
    """A `LayerSpec` for a convolution, a batch norm (eps 1e-3) and a ReLU.

    At stride 1, padding keeps the size of the maps, unless the convolution is `valid`. Without `batch_norm` the
    convolution has biases instead. In Google's code, BN shifts but does not scale, and keeps 0.9997 of its running
    statistics at each step. Here, as in torchvision, BN shifts and scales, and keeps 0.9.
    """

    w_out: int
    kernel: int | tuple[int, int]  # the side, or height and width
    stride: int = 1
    valid: bool = False
    batch_norm: bool = True

    def __call__(self, w_in: int, width: float) -> nn.Sequential:
        w_out = scale_width(self.w_out, width)
        sides = kernel_sides(self.kernel)
        padding = (0, 0) if self.valid else (sides[0] // 2, sides[1] // 2)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = nn.Conv2d(w_in, w_out, sides, self.stride, padding, bias=not self.batch_norm)
        if self.batch_norm:
            layers["bn"] = nn.BatchNorm2d(w_out, eps=1e-3)
        layers["relu"] = nn.ReLU(inplace=True)
        return nn.Sequential(layers)


def scale_width(w_out: int, width: float) -> int:
    """Return `w_out` times `width`, but at least 8 or, if `w_out` is less than 8, at least `w_out`."""
    return max(min(w_out, 8), round(w_out * width))


def kernel_sides(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of a kernel."""
    return kernel if isinstance(kernel, tuple) else (kernel, kernel)


def spec_of(make: Callable[[], nn.Module]) -> LayerSpec:
    """Return the `LayerSpec` for a layer without weights, such as pooling."""
    return lambda w_in, width: make()


POOL = spec_of(lambda: nn.MaxPool2d(3, 2))  # 3x3/2, whole windows only
MEAN_POOL = spec_of(lambda: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False))  # 3x3/1; the padding does not count


class Branches(nn.ModuleDict):
    """Parallel branches on the same maps, whose outputs are concatenated (Szegedy et al., CVPR 2015, figure 2)."""

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        return torch.cat([branch(maps) for branch in self.values()], dim=1)


def branches(**parts: Sequence[LayerSpec]) -> LayerSpec:
    """Return the `LayerSpec` for `Branches` with these named branches. A branch of several layers becomes a chain."""
    return lambda w_in, width: Branches(
        {
            name: branch[0](w_in, width) if len(branch) == 1 else chain(w_in, width, *branch)
            for name, branch in parts.items()
        }
    )


def chain(w_in: int, width: float, *parts: LayerSpec) -> nn.Sequential:
    """Build a sequence of layers, named "0", "1", and so on."""
    return stack(w_in, width, {str(i): part for i, part in enumerate(parts)})


def stack(w_in: int, width: float, parts: Mapping[str, LayerSpec]) -> nn.Sequential:
    """Build a sequence of named layers, each built for the number of maps that the previous layer outputs."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, part in parts.items():
        layers[name] = part(w_in, width)
        w_in = maps_out(layers[name], w_in)
    return nn.Sequential(layers)


def maps_out(layer: nn.Module, w_in: int) -> int:
    """Return the number of output maps of a layer, chain or block that receives `w_in` maps."""
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels
    if isinstance(layer, Branches):
        return sum(maps_out(branch, w_in) for branch in layer.values())
    if isinstance(layer, nn.Sequential):
        for child in layer:
            w_in = maps_out(child, w_in)
    return w_in


def layers_up_to(features: nn.Sequential, name: str) -> nn.Sequential:
    """Return the children of `features` up to and including `name`: the trunk below an auxiliary head."""
    names = [child for child, _ in features.named_children()]
    return nn.Sequential(*list(features)[: names.index(name) + 1])


def auxiliary_side(layers: nn.Sequential, size: int, w_in: int) -> int:
    """Return the side length of the maps after `layers`, which are the trunk and the first layers of an auxiliary head.

    If the maps would be empty, raise a `ValueError` that states the smallest size that works and the option that
    drops the head.
    """
    try:
        return map_side(layers, size, w_in)
    except ValueError as error:
        raise ValueError(f"{error} with auxiliary heads; drop them with --model.no-aux for smaller sizes") from None
