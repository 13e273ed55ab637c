"""A small residual network for training on two CPU cores with a few hundred to a few thousand photos at 128 pixels.

It is ResNet-18 (He et al., CVPR 2016, arXiv:1512.03385) at half the width, with 2.8 million parameters and 145 million
multiply-adds, and with changes that cost almost nothing and are known to help:
- Two 3x3 convolutions of stride 2 replace the 7x7 convolution and the pooling layer. ResNet-C (He et al., CVPR 2019,
  arXiv:1812.01187, section 4.2) has three 3x3 convolutions, only the first with stride 2, and keeps the pooling layer.
- Average pooling comes before a shortcut's projection, so that no activation is skipped (ResNet-D, the same section).
- The scale of the last BN in each block starts at 0, so that each block starts as the identity (Goyal et al. 2017,
  arXiv:1706.02677, section 5.1).

Among candidates of similar cost, this network processed the most images per second during training in bfloat16.
"""

from dataclasses import dataclass

from torch import nn

from imclass.models.entry import NetworkEntry
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.residual import BasicBlock, shortcut, stages
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A variant of the small network: its native size, and the width and number of blocks of each stage."""

    size: int = 128
    stem: int = 16  # maps of the first convolution
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)


class SmallResNet(Network):
    """Two 3x3 convolutions of stride 2, four stages of basic blocks, global average pooling and a linear layer."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        if row.size < 32 or row.size % 32:
            raise ValueError(f"size is {row.size}; it must be a multiple of 32")
        super().__init__(size=row.size, w_in=w_in)
        first = [*convolution(w_in, row.stem), *convolution(row.stem, row.widths[0])]
        blocks = stages(row.widths[0], row.blocks, [(width,) for width in row.widths], block)
        # Model files name tensors by the number of the layer, features.0 to features.13, so stages are not nested.
        self.features = nn.Sequential(*first, *(block for stage in blocks.values() for block in stage))
        self.head = nn.Sequential(
            nn.AvgPool2d(row.size // 32, stride=1), nn.Flatten(), nn.Linear(row.widths[-1], classes)
        )
        init_he_convolutions(self)
        for layer in self.features:
            if isinstance(layer, BasicBlock):
                nn.init.zeros_(layer.residual[-1].get_parameter("weight"))


def convolution(w_in: int, w_out: int) -> list[nn.Module]:
    """Return a 3x3 convolution of stride 2, with BN and ReLU."""
    return [nn.Conv2d(w_in, w_out, 3, 2, padding=1, bias=False), nn.BatchNorm2d(w_out), nn.ReLU(inplace=True)]


def block(w_in: int, widths: tuple[int, ...], stride: int) -> nn.Module:
    """Return a basic block. The shortcut of a strided block is average pooling, a 1x1 convolution and BN."""
    w_out = widths[0]
    if stride == 1:
        return BasicBlock(w_in, w_out, stride, shortcut(w_in, w_out, stride, "B"))
    mean = nn.AvgPool2d(2, ceil_mode=True)  # rounds odd sides up, as the convolution of the residual does
    short = nn.Sequential(mean, nn.Conv2d(w_in, w_out, 1, bias=False), nn.BatchNorm2d(w_out))
    return BasicBlock(w_in, w_out, stride, short)


NETS = {
    "small-resnet": NetworkEntry(
        build=SmallResNet, row=Row(), parameters=2_801_818, paper="arXiv:1812.01187", year=2018, classes=10
    ),
}
