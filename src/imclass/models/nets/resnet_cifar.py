"""ResNets for CIFAR-10: deep residual learning for image recognition.

Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, CVPR 2016, arXiv:1512.03385, section 4.2: a 3x3 convolution, three
stages of n blocks on maps of 32, 16 and 8 pixels, global average pooling, FC: 6n + 2 layers. Where the shape changes,
the paper's shortcut is option A, without parameters; the "-b" rows have option B there, a projection.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from imclass.models.entry import Entry, Foreign, Published
from imclass.models.layers.initialisers import he
from imclass.models.layers.residual import BasicBlock, Zeros, last_side, shortcut, torchvision_name
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """Layers with weights (6n + 2), the shortcut's option where the shape changes, and the three stages' widths.

    `zeros` says where option A adds its maps of zeros, of which the paper says nothing: at the end, or at both ends.
    """

    depth: int
    option: Literal["A", "B"] = "A"
    widths: tuple[int, int, int] = (16, 32, 64)
    zeros: Zeros = "end"
    size: int = 32


PARAMETERS = {
    Row(20): 269_722, Row(32): 464_154, Row(44): 658_586, Row(56): 853_018, Row(110): 1_727_962, Row(1202): 19_421_274,
    Row(20, "B"): 272_474, Row(32, "B"): 466_906, Row(44, "B"): 661_338, Row(56, "B"): 855_770,
    Row(110, "B"): 1_730_714, Row(1202, "B"): 19_424_026,
}  # fmt: skip
PUBLISHED = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}  # Table 6; 110: best of 5, mean 6.61 +- .16


class ResNetCifar(Network):
    """3x3, BN, ReLU; n blocks; thrice; spatial mean; FC."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        n, rest = divmod(row.depth - 2, 6)
        if n < 1 or rest:
            near = 6 * max(n, 1) + 2
            raise ValueError(f"depth is {row.depth}, and must be 6n + 2: {near} or {near + 6}, for example")
        super().__init__(size=row.size, w_in=w_in)
        w_out = row.widths[0]
        layers: list[nn.Module] = [
            nn.Conv2d(w_in, w_out, 3, padding=1, bias=False), nn.BatchNorm2d(w_out), nn.ReLU(inplace=True)
        ]  # fmt: skip
        maps = w_out
        for stage, w_out in enumerate(row.widths):
            for i in range(n):
                stride = 2 if stage > 0 and i == 0 else 1
                short = shortcut(maps, w_out, stride, row.option, row.zeros)
                layers.append(BasicBlock(maps, w_out, stride, short))
                maps = w_out
        self.features = nn.Sequential(*layers)
        side = last_side(row.size, len(row.widths), 3)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), nn.Linear(maps, classes))
        he(self)


def akamaster_name(n: int, name: str) -> str:
    """What the repository akamaster/pytorch_resnet_cifar10 calls a tensor of the network with n blocks a stage."""
    place = re.fullmatch(r"features\.(\d+)\.(.+)", name)
    if place is None:
        return name.replace("head.2.", "linear.")
    if int(place[1]) < 2:
        return f"{('conv1', 'bn1')[int(place[1])]}.{place[2]}"
    stage, block = divmod(int(place[1]) - 3, n)
    return torchvision_name(f"conv{stage + 2}_x.{block}.{place[2]}")


def akamaster(depth: int) -> Foreign:
    """Their network of this depth; its option A adds zeros at both ends."""
    return Foreign(f"resnet{depth}", partial(akamaster_name, (depth - 2) // 6), {"zeros": "both"})


NETS = {
    f"resnet-cifar-{row.depth}{'-b' * (row.option == 'B')}": Entry(
        ResNetCifar, row, 32, parameters, "arXiv:1512.03385", 2015, classes=10,
        published=Published(PUBLISHED[row.depth], protocol="whole image") if row.option == "A" else None,
        foreign={"akamaster": akamaster(row.depth)} if row.option == "A" else {},
    )
    for row, parameters in PARAMETERS.items()
}  # fmt: skip
