"""ResNeXt: aggregated residual transformations for deep neural networks.

Saining Xie, Ross Girshick, Piotr Dollar, Zhuowen Tu and Kaiming He, CVPR 2017, arXiv:1611.05431. The networks for
ImageNet, with 50 and 101 layers, are those in Table 1 and section 5.1; the networks for CIFAR, with 29 layers, are
those in section 5.3. In a name such as 32x4d, 32 is the cardinality and 4 the width of a path in conv2_x. Shortcuts
have option B, and the 3x3 convolutions have the strides (section 4). The row's `form` selects one of the three forms of
a block in figure 3, which compute the same function; the paper uses (c), with grouped convolutions. `resnext-101-32x8d`
is torchvision's, and is not in the paper.

The CIFAR rows have the blocks of the released code, in which a ReLU follows the addition. According to the authors, the
paper's errors were measured with pre-activation blocks. In form (a) a path's last convolution starts with larger
weights than in form (c), because its fan-in is that of one path. The BN after the sum cancels the difference.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.residual import (
    Bottleneck,
    foreign_networks,
    last_side,
    shortcut,
    stages,
    stem,
    torchvision_name,
)
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A ResNeXt variant: its stages, its cardinality, and the form of its blocks."""

    blocks: tuple[int, ...]  # the number of blocks in each stage
    widths: tuple[tuple[int, int], ...]  # of each stage's 3x3 convolutions (cardinality x path width) and output
    groups: int = 32  # the cardinality
    form: Literal["a", "b", "c"] = "c"  # of a block, in figure 3
    stem: int = 64  # maps of the first convolution
    stem_kernel: Literal[3, 7] = 7
    size: int = 224


class ResNeXt(Network):
    """A ResNet whose blocks have many parallel paths: a first convolution, then three or four stages."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        if row.groups < 1 or any(width % row.groups for width, _ in row.widths):
            raise ValueError(f"widths are {row.widths}; {row.groups} groups must divide the first of each stage")
        super().__init__(size=row.size, w_in=w_in)

        def block(w_in: int, widths: tuple[int, ...], stride: int) -> nn.Module:
            short = shortcut(w_in, widths[-1], stride, "B")
            if row.form == "c":
                return Bottleneck(w_in, widths[0], widths[1], (1, stride), short, row.groups)
            return Aggregation(w_in, widths[0], widths[1], stride, short, row.groups, row.form)

        self.features = nn.Sequential(
            stem(w_in, row.stem, row.stem_kernel) | stages(row.stem, row.blocks, row.widths, block)
        )
        side = last_side(row.size, len(row.blocks), row.stem_kernel)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), nn.Linear(row.widths[-1][1], classes))
        init_he_convolutions(self)


class Aggregation(nn.Module):
    """A block in form (a) or (b), with a separate module for each path.

    A path has a 1x1 and a 3x3 convolution, each with BN and ReLU. In form (a) each path ends in another 1x1
    convolution, and the paths' outputs are added. In form (b) the outputs are concatenated and passed to a single 1x1
    convolution. Then come BN, the addition of the shortcut, and a ReLU.
    """

    def __init__(
        self, w_in: int, width: int, w_out: int, stride: int, shortcut: nn.Module, groups: int, form: Literal["a", "b"]
    ) -> None:
        super().__init__()
        paths = [path(w_in, width // groups, stride) for _ in range(groups)]
        last = [nn.Conv2d(width if form == "b" else width // groups, w_out, 1, bias=False) for _ in paths]
        if form == "a":
            paths = [nn.Sequential(*layers, convolution) for layers, convolution in zip(paths, last, strict=True)]
        after = last[:1] if form == "b" else []
        self.residual = nn.Sequential(Paths(paths, form), *after, nn.BatchNorm2d(w_out))
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        return self.relu(self.residual(maps).add_(self.shortcut(maps)))


def path(w_in: int, width: int, stride: int) -> nn.Sequential:
    """Return one path of a block: a 1x1 and a 3x3 convolution, each with BN and ReLU."""
    return nn.Sequential(
        nn.Conv2d(w_in, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
    )  # fmt: skip


class Paths(nn.ModuleList):
    """Parallel paths on the same maps, whose outputs are added in form (a) and concatenated in form (b)."""

    def __init__(self, paths: Sequence[nn.Module], form: Literal["a", "b"]) -> None:
        super().__init__(paths)
        self.form = form

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        outputs = [path(maps) for path in self]
        return torch.stack(outputs).sum(0) if self.form == "a" else torch.cat(outputs, dim=1)


def split_groups(state: Mapping[str, Tensor], groups: int, form: Literal["a", "b"]) -> dict[str, Tensor]:
    """Convert the state dict of a network in form (c) to that of the same network in form (a) or (b)."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"(.+\.residual)\.(\d)\.(\w+)", name)
        if not match:
            found[name] = tensor
            continue
        block, place, leaf = match[1], int(match[2]), match[3]
        # Layers 0 to 5 of a bottleneck are divided among the paths; 6 is the last 1x1, and 7 is its BN.
        if place == 7:
            found[f"{block}.{1 if form == 'a' else 2}.{leaf}"] = tensor
        elif place == 6 and form == "b":
            found[f"{block}.1.{leaf}"] = tensor
        else:
            parts = tensor.chunk(groups, dim=1 if place == 6 else 0) if tensor.dim() else [tensor] * groups
            found |= {f"{block}.0.{g}.{place}.{leaf}": part.clone() for g, part in enumerate(parts)}
    return found


def doubled_widths(first: int, n: int) -> tuple[tuple[int, int], ...]:
    """Return the widths of the 3x3 convolutions and of the outputs in `n` stages.

    They are `first` and 256 in the first stage, and double in each later stage.
    """
    return tuple((first << stage, 256 << stage) for stage in range(n))


def entry(row: Row, parameters: int, result: PaperResult, theirs: Mapping[str, ForeignNetwork]) -> NetworkEntry:
    """Return a network's entry."""
    return NetworkEntry(
        build=ResNeXt, row=row, parameters=parameters, paper="arXiv:1611.05431", year=2016,
        classes=1000 if row.size == 224 else 10, result=result, foreign=theirs,
        small={"stem": 8, "groups": 4, "size": 32},
    )  # fmt: skip


def imagenet(
    blocks: tuple[int, ...], c: int, d: int, parameters: int,
    top1: float, top5: float | None, protocol: str, theirs: Mapping[str, ForeignNetwork],
) -> NetworkEntry:  # fmt: skip
    """Return the entry for an ImageNet network with four stages. A block has `c` paths, each `d` wide in conv2_x."""
    return entry(Row(blocks, doubled_widths(c * d, 4), c), parameters, PaperResult(top1, top5, protocol), theirs)


def cifar(c: int, d: int, parameters: int, top1: float) -> NetworkEntry:
    """Return the entry for a CIFAR-10 network with three stages of three blocks.

    A block has `c` paths, each `d` wide in conv2_x. `top1` is the mean error of 10 runs, from Table 7.
    """
    row = Row((3, 3, 3), doubled_widths(c * d, 3), c, stem_kernel=3, size=32)
    return entry(row, parameters, PaperResult(top1, protocol="whole image"), {})


R50, R101 = (3, 4, 6, 3), (3, 4, 23, 3)
TORCHVISION_PROTOCOL = "1 crop, torchvision's weights"
TIMM = {"timm": ForeignNetwork("resnext101_32x4d", torchvision_name)}  # torchvision does not have this one
NETS = {  # Errors for ImageNet are from Tables 3 and 4.
    "resnext-50-32x4d": imagenet(R50, 32, 4, 25_028_904, 22.2, None, "1 crop", foreign_networks("resnext50_32x4d")),
    "resnext-101-32x4d": imagenet(R101, 32, 4, 44_177_704, 21.2, 5.6, "1 crop", TIMM),
    "resnext-101-64x4d": imagenet(R101, 64, 4, 83_455_272, 20.4, 5.3, "1 crop", foreign_networks("resnext101_64x4d")),
    "resnext-101-32x8d": imagenet(
        R101, 32, 8, 88_791_336, 20.69, 5.47, TORCHVISION_PROTOCOL, foreign_networks("resnext101_32x8d")
    ),
    "resnext-29-8x64d": cifar(8, 64, 34_426_698, 3.65),
    "resnext-29-16x64d": cifar(16, 64, 68_155_210, 3.58),
}
