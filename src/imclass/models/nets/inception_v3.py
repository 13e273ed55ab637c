"""Inception-v3: rethinking the Inception architecture for computer vision.

Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens and Zbigniew Wojna, CVPR 2016, arXiv:1512.00567: the
blocks of figures 5 to 7, the reductions of figure 10, and the auxiliary head of figure 8 with batch norm (section 4).
This is the network that Google released as TensorFlow-Slim's `inception_v3`, which torchvision copies, including its
layer names. The network differs from Table 1:
- in the stem, a 1x1 convolution outputs 80 maps, and a second pooling layer replaces the stride of a convolution;
- the first two blocks increase the number of maps from 192 to 288; in Table 1 a convolution does this;
- there are four blocks of figure 6, not five.

As in torchvision, average pooling in blocks counts the padding as zeros, and dropout is 0.5. TensorFlow excludes
the padding from the average, and dropout in the released code is 0.2. As in that code, convolution weights are drawn
from N(0, 2 / fan-in), but here the distribution is not truncated. The released code draws the last two layers of the
auxiliary head with standard deviations of 0.01 and 0.001. Here these layers are initialised like the others. The
auxiliary head adds 3,326,696 parameters in training.

The published errors were measured on the 48,238 validation images that are not blacklisted. On all 50,000 the top-1 and
top-5 errors are about 0.2 and 0.1 percentage points higher (section 10).
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult
from imclass.models.layers.branches import (
    POOL,
    Conv,
    LayerSpec,
    auxiliary_side,
    branches,
    chain,
    layers_up_to,
    maps_out,
    spec_of,
    stack,
)
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """An Inception-v3 variant: its native size, a multiplier for all widths, and whether it has an auxiliary head."""

    size: int = 299
    width: float = 1.0
    aux: bool = True  # whether there is an auxiliary head, which needs maps of 17 x 17


PADDED_MEAN = spec_of(lambda: nn.AvgPool2d(3, 1, padding=1))


def block_a(projection: int) -> LayerSpec:
    """Return a block for 35 x 35 maps: figure 5, except that one branch keeps its 5x5 convolution."""
    return branches(
        branch1x1=[Conv(64, 1)],
        branch5x5=[Conv(48, 1), Conv(64, 5)],
        branch3x3dbl=[Conv(64, 1), Conv(96, 3), Conv(96, 3)],
        branch_pool=[PADDED_MEAN, Conv(projection, 1)],
    )


def reduction_a() -> LayerSpec:
    """Return the reduction from 35 x 35 to 17 x 17 maps (figure 10)."""
    return branches(
        branch3x3=[Conv(384, 3, 2, valid=True)],
        branch3x3dbl=[Conv(64, 1), Conv(96, 3), Conv(96, 3, 2, valid=True)],
        branch_pool=[POOL],
    )


def block_b(w: int) -> LayerSpec:
    """Return a block for 17 x 17 maps: figure 6 with n = 7."""
    across, down = (1, 7), (7, 1)
    return branches(
        branch1x1=[Conv(192, 1)],
        branch7x7=[Conv(w, 1), Conv(w, across), Conv(192, down)],
        branch7x7dbl=[Conv(w, 1), Conv(w, down), Conv(w, across), Conv(w, down), Conv(192, across)],
        branch_pool=[PADDED_MEAN, Conv(192, 1)],
    )


def reduction_b() -> LayerSpec:
    """Return the reduction from 17 x 17 to 8 x 8 maps."""
    return branches(
        branch3x3=[Conv(192, 1), Conv(320, 3, 2, valid=True)],
        branch7x7x3=[Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, valid=True)],
        branch_pool=[POOL],
    )


def block_c() -> LayerSpec:
    """Return a block for 8 x 8 maps (figure 7)."""
    fork = branches(a=[Conv(384, (1, 3))], b=[Conv(384, (3, 1))])
    return branches(
        branch1x1=[Conv(320, 1)],
        branch3x3=[Conv(384, 1), fork],
        branch3x3dbl=[Conv(448, 1), Conv(384, 3), fork],
        branch_pool=[PADDED_MEAN, Conv(192, 1)],
    )


LAYERS: Mapping[str, LayerSpec] = {
    "Conv2d_1a_3x3": Conv(32, 3, 2, valid=True),
    "Conv2d_2a_3x3": Conv(32, 3, valid=True),
    "Conv2d_2b_3x3": Conv(64, 3),
    "maxpool1": POOL,
    "Conv2d_3b_1x1": Conv(80, 1),
    "Conv2d_4a_3x3": Conv(192, 3, valid=True),
    "maxpool2": POOL,
    "Mixed_5b": block_a(32),
    "Mixed_5c": block_a(64),
    "Mixed_5d": block_a(64),
    "Mixed_6a": reduction_a(),
    "Mixed_6b": block_b(128),
    "Mixed_6c": block_b(160),
    "Mixed_6d": block_b(160),
    "Mixed_6e": block_b(192),
    "Mixed_7a": reduction_b(),
    "Mixed_7b": block_c(),
    "Mixed_7c": block_c(),
}


class InceptionV3(Network):
    """A stem of five convolutions, then three Inception blocks on 35 x 35 maps, four on 17 x 17 and two on 8 x 8."""

    side_weight = 0.4  # as in the released code

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        self.features = stack(w_in, row.width, LAYERS)
        side = map_side(self.features, row.size, w_in)
        self.head = nn.Sequential(
            nn.AvgPool2d(side, stride=1), Dropout(0.5), nn.Flatten(),
            nn.Linear(maps_out(self.features, w_in), classes),
        )  # fmt: skip
        if row.aux:
            self.sides["Mixed_6e"] = auxiliary_head(layers_up_to(self.features, "Mixed_6e"), row, classes, w_in)
        init_he_convolutions(self)


def auxiliary_head(trunk: nn.Sequential, row: Row, classes: int, w_in: int) -> nn.Sequential:
    """Return the auxiliary head of figure 8: 5x5 average pooling of stride 3, two convolutions and a linear layer."""
    pool = nn.AvgPool2d(5, 3)
    convolutions = chain(maps_out(trunk, w_in), row.width, Conv(128, 1), Conv(768, 5, valid=True))
    auxiliary_side(nn.Sequential(trunk, pool, convolutions), row.size, w_in)
    return nn.Sequential(
        OrderedDict(
            pool=pool,
            conv=convolutions,
            mean=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(maps_out(convolutions, w_in), classes),
        )
    )


def torchvision_tensor_name(name: str) -> str:
    """Return a tensor's name in torchvision and timm, such as "Mixed_7b.branch3x3dbl_3a.conv.weight"."""
    name = name.removeprefix("features.").replace("head.3", "fc").replace("branch_pool.1", "branch_pool")
    name = re.sub(r"sides\.Mixed_6e\.(conv\.)?", lambda found: "AuxLogits." + ("conv" if found[1] else ""), name)
    return re.sub(r"(branch\w+)\.(\d)(?:\.([ab])(?=\.))?", lambda b: f"{b[1]}_{int(b[2]) + 1}{b[3] or ''}", name)


NETS = {
    "inception-v3": NetworkEntry(
        build=InceptionV3, row=Row(), parameters=23_834_568, paper="arXiv:1512.00567", year=2015,
        result=PaperResult(21.2, 5.6, "1 crop, without blacklisted images"),
        foreign={
            "torchvision": ForeignNetwork("inception_v3", torchvision_tensor_name),
            "timm": ForeignNetwork("inception_v3", torchvision_tensor_name, {"aux": False}),
        },
        small={"size": 107, "aux": False},
    ),
}  # fmt: skip
