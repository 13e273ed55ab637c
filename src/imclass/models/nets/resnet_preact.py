"""Pre-activation ResNets: identity mappings in deep residual networks.

Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, ECCV 2016, arXiv:1603.05027: the full pre-activation of figure 4
(e), for CIFAR (Table 3) and ImageNet (Table 5). As described in the appendix, the first activation follows conv1
directly, before the paths split, and another activation follows the last addition. Where the shape changes, the
shortcut of a bottleneck is a projection of its first activation. The shortcuts of basic blocks for CIFAR have option A,
as in He et al., CVPR 2016. The first 1x1 convolution of a bottleneck has the stride, and projections have no BN. The
paper states neither, so both follow the released code for CIFAR.

On ImageNet the paper trains at 224 x 224 pixels and tests at 320 x 320. To test at that size here, change `size` in the
row or use a dense protocol.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.residual import (
    PreActivation,
    last_side,
    pre_activation_layers,
    projection,
    shortcut,
    stages,
    stem,
)
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A pre-activation ResNet: the blocks and widths of each stage, and the first convolution."""

    blocks: tuple[int, ...]
    # A stage of basic blocks has one width. A stage of bottlenecks has two, for its inner maps and its output.
    widths: tuple[tuple[int, ...], ...]
    stem: int = 16  # maps of the first convolution
    stem_kernel: Literal[3, 7] = 3
    size: int = 32


class ResNetPreAct(Network):
    """A first convolution, three (CIFAR) or four (ImageNet) stages of pre-activation units, then BN and ReLU."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        units = stages(row.stem, row.blocks, row.widths, unit)
        units["conv2_x"][0] = unit(row.stem, row.widths[0], 1, activated=True)  # the stem ends in BN and ReLU
        w_out = row.widths[-1][-1]
        last = OrderedDict(bn=nn.BatchNorm2d(w_out), relu=nn.ReLU(inplace=True))
        self.features = nn.Sequential(stem(w_in, row.stem, row.stem_kernel) | units | last)
        side = last_side(row.size, len(row.blocks), row.stem_kernel)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), nn.Linear(w_out, classes))
        init_he_convolutions(self)


def unit(w_in: int, widths: tuple[int, ...], stride: int, activated: bool = False) -> nn.Module:
    """Return a basic block or, with two `widths`, a bottleneck. BN and ReLU come before each convolution.

    If the input is already `activated`, the first BN and ReLU are left out.
    """
    width, w_out = widths[0], widths[-1]
    if len(widths) == 1:
        layers = pre_activation_layers(
            nn.Conv2d(w_in, width, 3, stride, padding=1, bias=False),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        short = shortcut(w_in, w_out, stride, "A")
    else:
        layers = pre_activation_layers(
            nn.Conv2d(w_in, width, 1, stride, bias=False),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.Conv2d(width, w_out, 1, bias=False),
        )
        short = projection(w_in, w_out, stride)
    return PreActivation(layers[2:] if activated else layers, short)


def entry(row: Row, parameters: int, result: PaperResult) -> NetworkEntry:
    """Return a network's entry."""
    return NetworkEntry(
        build=ResNetPreAct, row=row, parameters=parameters, paper="arXiv:1603.05027", year=2016,
        classes=1000 if row.size == 224 else 10, result=result, small={"stem": 4, "size": 32},
    )  # fmt: skip


def cifar(n: int, widths: tuple[tuple[int, ...], ...], parameters: int, top1: float) -> NetworkEntry:
    """Return the entry for a CIFAR-10 network with three stages of n units. `top1` is the median error of 5 runs."""
    return entry(Row((n, n, n), widths), parameters, PaperResult(top1, protocol="whole image"))


def imagenet(blocks: tuple[int, ...], parameters: int, top1: float, top5: float) -> NetworkEntry:
    """Return the entry for an ImageNet network with four stages of bottlenecks (Table 5)."""
    widths = ((64, 256), (128, 512), (256, 1024), (512, 2048))
    row = Row(blocks, widths, stem=64, stem_kernel=7, size=224)
    return entry(row, parameters, PaperResult(top1, top5, "1 crop of 320 x 320"))


BASIC, BOTTLENECK = ((16,), (32,), (64,)), ((16, 64), (32, 128), (64, 256))
NETS = {
    "resnet-preact-cifar-110": cifar(18, BASIC, 1_727_962, 6.37),
    "resnet-preact-cifar-164": cifar(18, BOTTLENECK, 1_703_258, 5.46),
    # Table 4 counts 10.2 M parameters, without those of batch norms. With batches of 64 the error is 4.62.
    "resnet-preact-cifar-1001": cifar(111, BOTTLENECK, 10_327_706, 4.92),
    "resnet-preact-152": imagenet((3, 8, 36, 3), 60_185_128, 21.1, 5.5),
    "resnet-preact-200": imagenet((3, 24, 36, 3), 64_666_152, 20.7, 5.3),
}
