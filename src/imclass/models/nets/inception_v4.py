"""Inception-v4, Inception-ResNet and the impact of residual connections on learning: the network without residuals.

Christian Szegedy, Sergey Ioffe, Vincent Vanhoucke and Alexander Alemi, AAAI 2017, arXiv:1602.07261: figures 3 to 9, as
numbered on arXiv. This is the network that Google released as TensorFlow-Slim's `inception_v4`, which timm copies. It
differs from figures 3, 5 and 6 in the order of some convolutions: 1x7 and 7x1 are swapped in the stem and in the
longest branch of block B, and 1x3 and 3x1 in the longest branch of block C. The released network has an auxiliary head,
which the paper does not show; here it is left out. Convolution weights are drawn from N(0, 2 / fan-in) as in the
released code, but the distribution is not truncated. Inception-ResNet-v2 is in inception_resnet.py.

The published errors were measured without some 1,700 blacklisted validation images. On all images the top-1 and top-5
errors are about 0.3 and 0.15 percentage points higher (section 5).
"""

import re
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult
from imclass.models.layers.branches import MEAN_POOL, POOL, Conv, LayerSpec, branches, chain, maps_out
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """An Inception-v4 variant: its native size, a multiplier for all widths, and the number of blocks of each kind."""

    size: int = 299
    width: float = 1.0
    blocks: tuple[int, int, int] = (4, 7, 3)  # of kinds A, B and C


def inception_stem() -> list[LayerSpec]:
    """Return the layers of the stem (figure 3)."""
    return [
        Conv(32, 3, 2, valid=True),
        Conv(32, 3, valid=True),
        Conv(64, 3),
        branches(maxpool=[POOL], conv=[Conv(96, 3, 2, valid=True)]),
        branches(
            branch0=[Conv(64, 1), Conv(96, 3, valid=True)],
            branch1=[Conv(64, 1), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, valid=True)],
        ),
        branches(conv=[Conv(192, 3, 2, valid=True)], maxpool=[POOL]),
    ]


def block_a() -> LayerSpec:
    """Return block A, for 35 x 35 maps (figure 4)."""
    return branches(
        branch0=[Conv(96, 1)],
        branch1=[Conv(64, 1), Conv(96, 3)],
        branch2=[Conv(64, 1), Conv(96, 3), Conv(96, 3)],
        branch3=[MEAN_POOL, Conv(96, 1)],
    )


def reduction_a() -> LayerSpec:
    """Return the reduction from 35 x 35 to 17 x 17 maps: figure 7 with k, l, m, n = 192, 224, 256, 384 (Table 1)."""
    return branches(
        branch0=[Conv(384, 3, 2, valid=True)],
        branch1=[Conv(192, 1), Conv(224, 3), Conv(256, 3, 2, valid=True)],
        branch2=[POOL],
    )


def block_b() -> LayerSpec:
    """Return block B, for 17 x 17 maps (figure 5)."""
    across, down = (1, 7), (7, 1)
    return branches(
        branch0=[Conv(384, 1)],
        branch1=[Conv(192, 1), Conv(224, across), Conv(256, down)],
        branch2=[Conv(192, 1), Conv(192, down), Conv(224, across), Conv(224, down), Conv(256, across)],
        branch3=[MEAN_POOL, Conv(128, 1)],
    )


def reduction_b() -> LayerSpec:
    """Return the reduction from 17 x 17 to 8 x 8 maps (figure 8)."""
    return branches(
        branch0=[Conv(192, 1), Conv(192, 3, 2, valid=True)],
        branch1=[Conv(256, 1), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2, valid=True)],
        branch2=[POOL],
    )


def block_c() -> LayerSpec:
    """Return block C, for 8 x 8 maps (figure 6)."""
    fork = branches(a=[Conv(256, (1, 3))], b=[Conv(256, (3, 1))])
    return branches(
        branch0=[Conv(256, 1)],
        branch1=[Conv(384, 1), fork],
        branch2=[Conv(384, 1), Conv(448, (3, 1)), Conv(512, (1, 3)), fork],
        branch3=[MEAN_POOL, Conv(256, 1)],
    )


class InceptionV4(Network):
    """A stem, then blocks of kinds A, B and C with reductions between the kinds (figure 9)."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        a, b, c = row.blocks
        parts = [*inception_stem(), *[block_a()] * a, reduction_a(), *[block_b()] * b, reduction_b(), *[block_c()] * c]
        self.features = chain(w_in, row.width, *parts)
        self.head = nn.Sequential(
            nn.AvgPool2d(map_side(self.features, row.size, w_in), stride=1), Dropout(0.2), nn.Flatten(),
            nn.Linear(maps_out(self.features, w_in), classes),
        )  # fmt: skip
        init_he_convolutions(self)


def timm_tensor_name(name: str) -> str:
    """Return a tensor's name in timm, such as "features.19.branch2_3a.conv.weight"."""
    forked = re.match(r"features\.(19|20|21)\.branch[12]\.", name)
    name = name.replace("head.3", "last_linear")
    return re.sub(r"(branch\d)\.(\d)(?:\.([ab])(?=\.))?", r"\1_\2\3", name) if forked else name


NETS = {
    "inception-v4": NetworkEntry(
        build=InceptionV4, row=Row(), parameters=42_679_816, paper="arXiv:1602.07261", year=2016,
        result=PaperResult(20.0, 5.0, "1 crop, without blacklisted images"),
        foreign={"timm": ForeignNetwork("inception_v4", timm_tensor_name)}, small={"size": 107},
    ),
}  # fmt: skip
