"""Wide ResNets: wide residual networks.

Sergey Zagoruyko and Nikos Komodakis, BMVC 2016, arXiv:1605.07146. WRN-28-10 for CIFAR is the network in Table 1 with
four blocks per group (n = 4) and ten times the width of a ResNet (k = 10). A block has two 3x3 convolutions in
pre-activation order. In the "-dropout" row there is dropout of 0.3 between them (sections 2.4 and 3). The errors are
medians of 5 runs. Where the shape changes, the first BN and ReLU come before both paths, as in the released code.

WRN-50-2 and WRN-101-2 for ImageNet (section 3, Table 8) are ResNets with twice as many inner maps in their bottlenecks.
The 3x3 convolution has the stride, as in the released models and torchvision. WRN-101-2 is torchvision's, and is not in
the paper. The paper reports two top-5 errors for WRN-50-2: 6.03 in Table 8 and 5.79 in Table 9. The entry has 6.03,
because 5.79 is the error of the pre-activation ResNet-200 in Table 8.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.residual import PreActivation, last_side, pre_activation_layers, projection, stages
from imclass.models.nets import resnet
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A wide ResNet for CIFAR: the blocks and widths of its three groups, and the dropout inside a block."""

    blocks: tuple[int, int, int] = (4, 4, 4)
    widths: tuple[int, int, int] = (160, 320, 640)
    stem: int = 16  # maps of the first convolution
    dropout: float = 0.0
    size: int = 32


class WideResNet(Network):
    """A 3x3 convolution, three groups of pre-activation blocks, global average pooling and a linear layer."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)

        def block(w_in: int, widths: tuple[int, ...], stride: int) -> nn.Module:
            """Return a pre-activation block: two 3x3 convolutions, with dropout between them unless its rate is 0."""
            layers = pre_activation_layers(
                nn.Conv2d(w_in, widths[0], 3, stride, padding=1, bias=False),
                nn.Conv2d(widths[0], widths[0], 3, padding=1, bias=False),
            )
            if row.dropout:
                layers.insert(-1, Dropout(row.dropout))
            return PreActivation(layers, projection(w_in, widths[0], stride))

        first = OrderedDict(conv1=nn.Conv2d(w_in, row.stem, 3, padding=1, bias=False))
        last = OrderedDict(bn=nn.BatchNorm2d(row.widths[-1]), relu=nn.ReLU(inplace=True))
        groups = stages(row.stem, row.blocks, [(width,) for width in row.widths], block)
        self.features = nn.Sequential(first | groups | last)
        side = last_side(row.size, len(row.blocks), 3)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), nn.Linear(row.widths[-1], classes))
        init_he_convolutions(self)


def cifar(row: Row, parameters: int, top1: float) -> NetworkEntry:
    """Return the entry for a CIFAR-10 network."""
    return NetworkEntry(
        build=WideResNet, row=row, parameters=parameters, paper="arXiv:1605.07146", year=2016, classes=10,
        result=PaperResult(top1, protocol="whole image"),
    )  # fmt: skip


def imagenet(
    blocks: tuple[int, int, int, int], parameters: int, top1: float, top5: float, protocol: str, theirs: str
) -> NetworkEntry:
    """Return the entry for an ImageNet ResNet with twice as many inner maps in its bottlenecks (section 3)."""
    row = resnet.Row(blocks, ((128, 256), (256, 512), (512, 1024), (1024, 2048)), stride_in="3x3")
    result = PaperResult(top1, top5, protocol)
    return replace(resnet.entry(row, parameters, result, theirs), paper="arXiv:1605.07146", year=2016)


TORCHVISION_PROTOCOL = "1 crop, torchvision's weights"
NETS = {
    "wide-resnet-28-10": cifar(Row(), 36_479_194, 4.00),
    "wide-resnet-28-10-dropout": cifar(Row(dropout=0.3), 36_479_194, 3.89),
    "wide-resnet-50-2": imagenet((3, 4, 6, 3), 68_883_240, 21.9, 6.03, "1 crop", "wide_resnet50_2"),
    "wide-resnet-101-2": imagenet((3, 4, 23, 3), 126_886_696, 21.15, 5.72, TORCHVISION_PROTOCOL, "wide_resnet101_2"),
}
