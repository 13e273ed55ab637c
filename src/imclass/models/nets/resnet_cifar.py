"""ResNets for CIFAR-10: deep residual learning for image recognition.

Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, CVPR 2016, arXiv:1512.03385, section 4.2: a 3x3 convolution, three
stages of n blocks at 32x32, 16x16 and 8x8, global average pooling and a fully connected layer, 6n + 2 layers in all.
Where the shape changes, the paper's shortcut is option A, without parameters. The "-b" rows have option B, a
projection.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.residual import (
    BasicBlock,
    ZeroPlacement,
    last_side,
    shortcut,
    stages,
    stem,
    torchvision_name,
)
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A ResNet for CIFAR-10: its depth, its shortcuts, and the widths of its three stages."""

    depth: int  # the number of layers with weights, 6n + 2
    option: Literal["A", "B"] = "A"  # of shortcuts where the shape changes
    widths: tuple[int, int, int] = (16, 32, 64)
    zeros: ZeroPlacement = "end"  # where option A adds its maps of zeros; the paper does not state it
    size: int = 32
    bias: bool = False  # biases in the second convolution of each block, as in PaddlePaddle's book


class ResNetCifar(Network):
    """A 3x3 convolution, three stages of n residual blocks each, global average pooling and a linear layer."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        n, rest = divmod(row.depth - 2, 6)
        if n < 1 or rest:
            near = 6 * max(n, 1) + 2
            raise ValueError(f"depth is {row.depth}; it must be 6n + 2, such as {near} or {near + 6}")
        super().__init__(size=row.size, w_in=w_in)

        def block(w_in: int, widths: tuple[int, ...], stride: int) -> nn.Module:
            short = shortcut(w_in, widths[0], stride, row.option, row.zeros)
            return BasicBlock(w_in, widths[0], stride, short, row.bias)

        first = stem(w_in, row.widths[0], 3)
        blocks = stages(row.widths[0], (n, n, n), [(width,) for width in row.widths], block)
        # Model files and `akamaster_name` number the layers, features.0 to features.3n+2, so stages are not nested.
        self.features = nn.Sequential(*first.values(), *(block for stage in blocks.values() for block in stage))
        side = last_side(row.size, len(row.widths), 3)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), nn.Linear(row.widths[-1], classes))
        init_he_convolutions(self)


def akamaster_name(n: int, name: str) -> str:
    """Return a tensor's name in the repository akamaster/pytorch_resnet_cifar10. Each stage has `n` blocks."""
    place = re.fullmatch(r"features\.(\d+)\.(.+)", name)
    if place is None:
        return name.replace("head.2.", "linear.")
    if int(place[1]) < 2:
        return f"{('conv1', 'bn1')[int(place[1])]}.{place[2]}"
    stage, block = divmod(int(place[1]) - 3, n)
    return torchvision_name(f"conv{stage + 2}_x.{block}.{place[2]}")


def entry(row: Row, parameters: int, top1: float | None = None) -> NetworkEntry:
    """Return a network's entry.

    With option A, the entry also lists akamaster's network, whose shortcuts add half of the maps of zeros at each end.
    """
    theirs = ForeignNetwork(f"resnet{row.depth}", partial(akamaster_name, (row.depth - 2) // 6), {"zeros": "both"})
    return NetworkEntry(
        build=ResNetCifar, row=row, parameters=parameters, paper="arXiv:1512.03385", year=2015, classes=10,
        result=None if top1 is None else PaperResult(top1, protocol="whole image"),
        foreign={"akamaster": theirs} if row.option == "A" else {}, small={"depth": 8},
    )  # fmt: skip


NETS = {  # Errors are from Table 6.
    "resnet-cifar-20": entry(Row(20), 269_722, 8.75),
    "resnet-cifar-32": entry(Row(32), 464_154, 7.51),
    "resnet-cifar-44": entry(Row(44), 658_586, 7.17),
    "resnet-cifar-56": entry(Row(56), 853_018, 6.97),
    "resnet-cifar-110": entry(Row(110), 1_727_962, 6.43),  # the best of 5 runs; their mean is 6.61 +- 0.16
    "resnet-cifar-1202": entry(Row(1202), 19_421_274, 7.93),
    "resnet-cifar-20-b": entry(Row(20, "B"), 272_474),
    "resnet-cifar-32-b": entry(Row(32, "B"), 466_906),
    "resnet-cifar-44-b": entry(Row(44, "B"), 661_338),
    "resnet-cifar-56-b": entry(Row(56, "B"), 855_770),
    "resnet-cifar-110-b": entry(Row(110, "B"), 1_730_714),
    "resnet-cifar-1202-b": entry(Row(1202, "B"), 19_424_026),
}
