"""ResNet: deep residual learning for image recognition.

Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, CVPR 2016, arXiv:1512.03385: Table 1, with the shortcut options of
sections 3.3 and 4.1. Shortcuts have option B (projections) unless the name ends in "-a" or "-c". As in the paper's
released models, the first 1x1 convolution of a bottleneck has the stride. In the "-v1.5" rows, which follow torchvision
and timm instead of a paper, the 3x3 convolution has it. The networks with 18 and 34 layers have no bottlenecks, so they
need no "-v1.5" rows. The first pooling layer is padded, as in torchvision. In the released models it is not padded, and
its output size is rounded up.
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.residual import (
    BasicBlock,
    Bottleneck,
    ShortcutOption,
    foreign_networks,
    last_side,
    shortcut,
    stages,
    stem,
)
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A column of Table 1: the blocks and widths of stages conv2_x to conv5_x, and the option of the shortcuts."""

    blocks: tuple[int, int, int, int]
    # A stage of basic blocks has one width. A stage of bottlenecks has two, for its inner maps and its output.
    widths: tuple[tuple[int, ...], ...] = ((64, 256), (128, 512), (256, 1024), (512, 2048))
    stem: int = 64  # maps of the first convolution
    option: ShortcutOption = "B"
    stride_in: Literal["1x1", "3x3"] = "1x1"  # which convolution of a bottleneck has the stride
    size: int = 224


class ResNet(Network):
    """A 7x7 convolution, max pooling, four stages of residual blocks, global average pooling and a linear layer."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        if {len(widths) for widths in row.widths} - {1, 2}:
            raise ValueError(f"widths are {row.widths}; each stage must have one (basic blocks) or two (bottlenecks)")
        super().__init__(size=row.size, w_in=w_in)

        def block(w_in: int, widths: tuple[int, ...], stride: int) -> nn.Module:
            short = shortcut(w_in, widths[-1], stride, row.option)
            if len(widths) == 1:
                return BasicBlock(w_in, widths[0], stride, short)
            strides = (stride, 1) if row.stride_in == "1x1" else (1, stride)
            return Bottleneck(w_in, widths[0], widths[1], strides, short)

        self.features = nn.Sequential(stem(w_in, row.stem, 7) | stages(row.stem, row.blocks, row.widths, block))
        side = last_side(row.size, len(row.blocks), 7)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), nn.Linear(row.widths[-1][-1], classes))
        init_he_convolutions(self)


def entry(row: Row, parameters: int, result: PaperResult | None = None, theirs: str = "") -> NetworkEntry:
    """Return a network's entry. `theirs` is its name in torchvision and timm."""
    return NetworkEntry(
        build=ResNet, row=row, parameters=parameters, paper="arXiv:1512.03385", year=2015, result=result,
        foreign=foreign_networks(theirs) if theirs else {}, small={"stem": 8, "size": 64},
    )  # fmt: skip


BASIC = ((64,), (128,), (256,), (512,))
R18, R34 = Row((2, 2, 2, 2), BASIC), Row((3, 4, 6, 3), BASIC)
R50, R101, R152 = Row((3, 4, 6, 3)), Row((3, 4, 23, 3)), Row((3, 8, 36, 3))
V50, V101, V152 = (replace(row, stride_in="3x3") for row in (R50, R101, R152))
TORCHVISION_PROTOCOL = "1 crop, torchvision's weights"
NETS = {  # Errors with 10 crops are from Table 3, or from Table 2 for resnet-18-a.
    "resnet-18": entry(R18, 11_689_512, PaperResult(30.24, 10.92, TORCHVISION_PROTOCOL), "resnet18"),
    "resnet-34": entry(R34, 21_797_672, PaperResult(24.52, 7.46, "10 crops"), "resnet34"),
    "resnet-50": entry(R50, 25_557_032, PaperResult(22.85, 6.71, "10 crops")),
    "resnet-101": entry(R101, 44_549_160, PaperResult(21.75, 6.05, "10 crops")),
    "resnet-152": entry(R152, 60_192_808, PaperResult(21.43, 5.71, "10 crops")),
    "resnet-18-a": entry(replace(R18, option="A"), 11_515_688, PaperResult(27.88, None, "10 crops")),
    "resnet-34-a": entry(replace(R34, option="A"), 21_623_848, PaperResult(25.03, 7.76, "10 crops")),
    "resnet-18-c": entry(replace(R18, option="C"), 12_043_816),
    "resnet-34-c": entry(replace(R34, option="C"), 22_716_840, PaperResult(24.19, 7.40, "10 crops")),
    "resnet-50-v1.5": entry(V50, 25_557_032, PaperResult(23.87, 7.14, TORCHVISION_PROTOCOL), "resnet50"),
    "resnet-101-v1.5": entry(V101, 44_549_160, PaperResult(22.63, 6.45, TORCHVISION_PROTOCOL), "resnet101"),
    "resnet-152-v1.5": entry(V152, 60_192_808, PaperResult(21.69, 5.95, TORCHVISION_PROTOCOL), "resnet152"),
}
