"""ResNets for CIFAR-10: deep residual learning for image recognition.

Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, CVPR 2016, arXiv:1512.03385, section 4.2: a 3x3 convolution, three
stages of n blocks on maps of 32, 16 and 8 pixels, global average pooling, FC: 6n + 2 layers. Where the shape changes,
the paper's shortcut is option A, without parameters; the "-b" rows have option B there, a projection.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.contracts import Entry, Published
from imclass.models.initialisers import he
from imclass.models.layers import BasicBlock, Network


@dataclass(frozen=True)
class Row:
    """Layers with weights (6n + 2), the shortcut's option where the shape changes, and the three stages' widths."""

    depth: int
    option: Literal["A", "B"] = "A"
    widths: tuple[int, int, int] = (16, 32, 64)


PARAMETERS = {
    Row(20): 269_722, Row(32): 464_154, Row(44): 658_586, Row(56): 853_018, Row(110): 1_727_962, Row(1202): 19_421_274,
    Row(20, "B"): 272_474, Row(32, "B"): 466_906, Row(44, "B"): 661_338, Row(56, "B"): 855_770,
    Row(110, "B"): 1_730_714, Row(1202, "B"): 19_424_026,
}  # fmt: skip
PUBLISHED = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}  # Table 6; 110: best of 5, mean 6.61 +- .16


class ResNetCifar(Network):
    """3x3, BN, ReLU; n blocks; thrice; mean over 8 x 8; FC. Native size 32 x 32."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        n, rest = divmod(row.depth - 2, 6)
        if n < 1 or rest:
            near = 6 * max(n, 1) + 2
            raise ValueError(f"depth is {row.depth}, and must be 6n + 2: {near} or {near + 6}, for example")
        super().__init__(size=32, w_in=w_in)
        w_out = row.widths[0]
        layers: list[nn.Module] = [
            nn.Conv2d(w_in, w_out, 3, padding=1, bias=False), nn.BatchNorm2d(w_out), nn.ReLU(inplace=True)
        ]  # fmt: skip
        w_in = w_out
        for stage, w_out in enumerate(row.widths):
            for i in range(n):
                stride = 2 if stage > 0 and i == 0 else 1
                layers.append(BasicBlock(w_in, w_out, stride, shortcut(w_in, w_out, stride, row.option)))
                w_in = w_out
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AvgPool2d(8, stride=1), nn.Flatten(), nn.Linear(w_in, classes))
        he(self)


def shortcut(w_in: int, w_out: int, stride: int, option: Literal["A", "B"]) -> nn.Module:
    """The identity where the shape stays, else the option's way (section 3.3)."""
    if stride == 1 and w_in == w_out:
        return nn.Identity()
    if option == "A":
        return Subsample(w_out - w_in, stride)
    return nn.Sequential(nn.Conv2d(w_in, w_out, 1, stride, bias=False), nn.BatchNorm2d(w_out))


class Subsample(nn.Module):
    """Option A: every `stride`-th row and column, then `added` maps of zeros."""

    def __init__(self, added: int, stride: int) -> None:
        if added < 0:
            raise ValueError("widths fall, and option A can only add maps: use option B")
        super().__init__()
        self.added, self.stride = added, stride

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c h w"]:
        return functional.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


NETS = {
    f"resnet-cifar-{row.depth}{'-b' * (row.option == 'B')}": Entry(
        ResNetCifar, row, 32, parameters, "arXiv:1512.03385", 2015, classes=10,
        published=Published(PUBLISHED[row.depth], protocol="whole image") if row.option == "A" else None,
    )
    for row, parameters in PARAMETERS.items()
}  # fmt: skip
