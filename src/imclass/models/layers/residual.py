"""Parts of residual networks: shortcuts, basic blocks, bottlenecks, pre-activation units, stems, and stages of blocks.

`foreign_networks` and `torchvision_name` convert tensor names to those of torchvision and timm.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.entry import ForeignNetwork

ShortcutOption: TypeAlias = Literal["A", "B", "C"]
ZeroPlacement: TypeAlias = Literal["end", "both"]


def shortcut(w_in: int, w_out: int, stride: int, option: ShortcutOption, zeros: ZeroPlacement = "end") -> nn.Module:
    """Return a shortcut of He et al., CVPR 2016, arXiv:1512.03385, sections 3.3 and 4.1.

    Option A has no parameters. Where the shape changes, it adds maps of zeros: all of them after the input's maps or,
    if `zeros` is "both", half of them before. Option B projects where the shape changes. Option C projects everywhere.
    """
    if option != "C" and stride == 1 and w_in == w_out:
        return nn.Identity()
    if option == "A":
        added = w_out - w_in
        return Subsample(added, stride, before=added // 2 if zeros == "both" else 0)
    return nn.Sequential(nn.Conv2d(w_in, w_out, 1, stride, bias=False), nn.BatchNorm2d(w_out))


class Subsample(nn.Module):
    """The shortcut of option A, which keeps every `stride`-th row and column and adds `added` maps of zeros.

    Of the added maps, `before` precede the input's maps, and the rest follow them.
    """

    def __init__(self, added: int, stride: int, before: int = 0) -> None:
        if added < 0:
            raise ValueError("a later stage has fewer maps, and option A can only add maps; use option B")
        super().__init__()
        self.added, self.stride, self.before = added, stride, before

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        zeros = (0, 0, 0, 0, self.before, self.added - self.before)
        # Pooling over 1 x 1 selects the same values as indexing. The gradient of indexing would lose the memory order.
        return functional.pad(functional.avg_pool2d(maps, 1, self.stride), zeros)


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions, each with BN (He et al., CVPR 2016, figure 5 right).

    `strides` are those of the first two convolutions. In the paper the 1x1 convolution has the stride; in later
    networks the 3x3 convolution has it. With several `groups` this is form (c) of ResNeXt (Xie et al., CVPR 2017,
    arXiv:1611.05431, figure 3). Convolutions have no biases.
    """

    def __init__(
        self, w_in: int, width: int, w_out: int, strides: tuple[int, int], shortcut: nn.Module, groups: int = 1
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(w_in, width, 1, strides[0], bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, strides[1], padding=1, groups=groups, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, w_out, 1, bias=False), nn.BatchNorm2d(w_out),
        )  # fmt: skip
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        return self.relu(self.residual(maps).add_(self.shortcut(maps)))


class PreActivation(nn.Module):
    """A pre-activation unit: residual + shortcut (He et al., ECCV 2016, arXiv:1603.05027, figure 4 (e)).

    `layers` come from `pre_activation_layers`. If the shortcut projects, the first BN and ReLU of `layers` come before
    both paths (as in the paper's appendix). Otherwise the shortcut receives the input unchanged.
    """

    def __init__(self, layers: Sequence[nn.Module], shortcut: nn.Module) -> None:
        super().__init__()
        shared = 2 if isinstance(shortcut, nn.Conv2d) and isinstance(layers[0], nn.BatchNorm2d) else 0
        self.shared = nn.Sequential(*layers[:shared])
        self.residual = nn.Sequential(*layers[shared:])
        self.shortcut = shortcut

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        maps = self.shared(maps)
        return self.residual(maps).add_(self.shortcut(maps))


def pre_activation_layers(*convolutions: nn.Conv2d) -> list[nn.Module]:
    """Return the convolutions, each preceded by BN and ReLU."""
    return [m for c in convolutions for m in (nn.BatchNorm2d(c.in_channels), nn.ReLU(inplace=True), c)]


def projection(w_in: int, w_out: int, stride: int) -> nn.Module:
    """Return the shortcut of a pre-activation unit: the identity or, if the shape changes, a 1x1 convolution."""
    same = stride == 1 and w_in == w_out
    return nn.Identity() if same else nn.Conv2d(w_in, w_out, 1, stride, bias=False)


def stem(w_in: int, w_out: int, kernel: Literal[3, 7]) -> OrderedDict[str, nn.Module]:
    """Return the first layers: a convolution, BN and ReLU, followed by max pooling if the kernel is 7x7."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(w_in, w_out, kernel, stride=2 if kernel == 7 else 1, padding=kernel // 2, bias=False)
    layers["bn1"], layers["relu1"] = nn.BatchNorm2d(w_out), nn.ReLU(inplace=True)
    if kernel == 7:
        layers["pool1"] = nn.MaxPool2d(3, stride=2, padding=1)
    return layers


def stages(
    w_in: int,
    blocks: Sequence[int],
    widths: Sequence[tuple[int, ...]],
    block: Callable[[int, tuple[int, ...], int], nn.Module],
) -> OrderedDict[str, nn.Sequential]:
    """Return the stages "conv2_x", "conv3_x" and so on. `blocks` contains the number of blocks in each stage.

    All stages except the first begin with stride 2. `block(w_in, widths of the stage, stride)` builds one block. A
    stage's last width is the width of its output.
    """
    if len(blocks) != len(widths) or min(blocks, default=0) < 1:
        raise ValueError(f"blocks are {tuple(blocks)}; they must be {len(widths)} numbers, each at least 1")
    layers: OrderedDict[str, nn.Sequential] = OrderedDict()
    for stage, (n, stage_widths) in enumerate(zip(blocks, widths, strict=True)):
        units = []
        for i in range(n):
            units.append(block(w_in, stage_widths, 2 if stage > 0 and i == 0 else 1))
            w_in = stage_widths[-1]
        layers[f"conv{stage + 2}_x"] = nn.Sequential(*units)
    return layers


def last_side(size: int, stages: int, kernel: Literal[3, 7]) -> int:
    """Return the side length of the maps after `stem` and `stages`. Layers of stride 2 round odd sides up.

    `map_side` would return the same side, but it takes seconds for a network with a thousand layers.
    """
    if size < 1:
        raise ValueError(f"size is {size}, but the smallest that works is 1")
    return -(-size // 2 ** (stages - 1 + (2 if kernel == 7 else 0)))


def foreign_networks(name: str) -> dict[str, ForeignNetwork]:
    """Return the counterparts of a network in torchvision and timm, which both call it `name`."""
    return {library: ForeignNetwork(name, torchvision_name) for library in ("torchvision", "timm")}


def torchvision_name(name: str) -> str:
    """Return a tensor's name in torchvision and timm, for residual networks with a 7x7 stem and four stages."""
    name = name.removeprefix("features.").replace("head.2.", "fc.").replace(".shortcut.", ".downsample.")
    name = re.sub(r"^conv(\d)_x", lambda m: f"layer{int(m[1]) - 1}", name)
    # The layers of a residual repeat the sequence convolution, BN, ReLU.
    return re.sub(r"residual\.(\d)", lambda m: f"{('conv', 'bn')[int(m[1]) % 3]}{int(m[1]) // 3 + 1}", name)


class BasicBlock(nn.Module):
    """A residual block of two 3x3 convolutions, each with BN (He et al., CVPR 2016, figure 5 left).

    If `bias` is true, the second convolution has biases, as in PaddlePaddle's book.
    """

    def __init__(self, w_in: int, w_out: int, stride: int, shortcut: nn.Module, bias: bool = False) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(w_in, w_out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(w_out), nn.ReLU(inplace=True),
            nn.Conv2d(w_out, w_out, 3, padding=1, bias=bias), nn.BatchNorm2d(w_out),
        )  # fmt: skip
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        return self.relu(self.residual(maps).add_(self.shortcut(maps)))
