"""Inception-v4, Inception-ResNet and the impact of residual connections on learning: the network with residuals.

Christian Szegedy, Sergey Ioffe, Vincent Vanhoucke and Alexander Alemi, AAAI 2017, arXiv:1602.07261, section 3.2. The
output of a block is scaled down and added to its input (section 3.3). This is the Inception-ResNet-v2 that Google
released as TensorFlow-Slim's `inception_resnet_v2`, which timm copies. It differs from figures 3 and 15 to 19, as
numbered on arXiv:
- the stem is that of Inception-v3, followed by one block like Inception-v3's, but with 320 maps; in figure 3 the stem
  is Inception-v4's;
- there are 10, 20 and 10 residual blocks; in figure 15 there are 5, 10 and 5;
- residuals have 320, 1088 and 2080 maps, like their inputs; figures 16, 17 and 19 state 384, 1154 and 2048;
- residuals are scaled by 0.17, 0.10 and 0.20, but the last residual is not scaled, and no ReLU follows it;
- a 1x1 convolution to 1536 maps comes before global average pooling, and the auxiliary head is left out.
As in the released code, weights are initialised by Glorot's rule. In Inception-v4 (inception_v4.py) the initial
weights depend only on the fan-in.

The published errors were measured without some 1,700 blacklisted validation images. On all images the top-1 and top-5
errors are about 0.3 and 0.15 percentage points higher (section 5).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult
from imclass.models.layers.branches import MEAN_POOL, POOL, Conv, LayerSpec, branches, maps_out, stack
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_glorot
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """An Inception-ResNet variant: its native size, a width multiplier, and the number of blocks in each series."""

    size: int = 299
    width: float = 1.0
    blocks: tuple[int, int, int] = (10, 20, 10)  # at each resolution: 35x35, 17x17, 8x8


class Residual(nn.Module):
    """A residual block: the output of parallel branches and a 1x1 convolution is scaled and added to the input.

    A ReLU follows the addition, except in the last block of the network.
    """

    def __init__(self, w_in: int, inner: nn.Module, scale: float, last: bool) -> None:
        super().__init__()
        self.branches = inner
        self.conv2d = nn.Conv2d(maps_out(inner, w_in), w_in, 1)
        self.scale = scale
        self.relu = nn.Identity() if last else nn.ReLU(inplace=True)

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return self.relu(maps + self.scale * self.conv2d(self.branches(maps)))


def residual(inner: LayerSpec, scale: float, last: bool = False) -> LayerSpec:
    """Return the `LayerSpec` for a residual block whose branches are built by `inner`."""
    return lambda w_in, width: Residual(w_in, inner(w_in, width), scale, last)


def repeat(n: int, part: LayerSpec) -> LayerSpec:
    """Return the `LayerSpec` for a sequence of `n` layers, each built by `part`."""
    return lambda w_in, width: stack(w_in, width, {str(i): part for i in range(n)})


def mixed_5b() -> LayerSpec:
    """Return the block after the stem: the four branches of Inception-v3's first blocks."""
    return branches(
        branch0=[Conv(96, 1)],
        branch1=[Conv(48, 1), Conv(64, 5)],
        branch2=[Conv(64, 1), Conv(96, 3), Conv(96, 3)],
        branch3=[MEAN_POOL, Conv(64, 1)],
    )


def block_35() -> LayerSpec:
    """Return the branches of a residual block for 35 x 35 maps (figure 16)."""
    return branches(
        branch0=[Conv(32, 1)],
        branch1=[Conv(32, 1), Conv(32, 3)],
        branch2=[Conv(32, 1), Conv(48, 3), Conv(64, 3)],
    )


def reduction_a() -> LayerSpec:
    """Return the reduction from 35 x 35 to 17 x 17 maps: figure 7 with k, l, m, n = 256, 256, 384, 384 (Table 1)."""
    return branches(
        branch0=[Conv(384, 3, 2, valid=True)],
        branch1=[Conv(256, 1), Conv(256, 3), Conv(384, 3, 2, valid=True)],
        branch2=[POOL],
    )


def block_17() -> LayerSpec:
    """Return the branches of a residual block for 17 x 17 maps (figure 17)."""
    return branches(branch0=[Conv(192, 1)], branch1=[Conv(128, 1), Conv(160, (1, 7)), Conv(192, (7, 1))])


def reduction_b() -> LayerSpec:
    """Return the reduction from 17 x 17 to 8 x 8 maps (figure 18)."""
    return branches(
        branch0=[Conv(256, 1), Conv(384, 3, 2, valid=True)],
        branch1=[Conv(256, 1), Conv(288, 3, 2, valid=True)],
        branch2=[Conv(256, 1), Conv(288, 3), Conv(320, 3, 2, valid=True)],
        branch3=[POOL],
    )


def block_8() -> LayerSpec:
    """Return the branches of a residual block for 8 x 8 maps (figure 19)."""
    return branches(branch0=[Conv(192, 1)], branch1=[Conv(192, 1), Conv(224, (1, 3)), Conv(256, (3, 1))])


def layers(blocks: tuple[int, int, int]) -> dict[str, LayerSpec]:
    """Return the layers of the released network, from input to output."""
    return {
        "conv2d_1a": Conv(32, 3, 2, valid=True),
        "conv2d_2a": Conv(32, 3, valid=True),
        "conv2d_2b": Conv(64, 3),
        "maxpool_3a": POOL,
        "conv2d_3b": Conv(80, 1),
        "conv2d_4a": Conv(192, 3, valid=True),
        "maxpool_5a": POOL,
        "mixed_5b": mixed_5b(),
        "repeat": repeat(blocks[0], residual(block_35(), 0.17)),
        "mixed_6a": reduction_a(),
        "repeat_1": repeat(blocks[1], residual(block_17(), 0.10)),
        "mixed_7a": reduction_b(),
        "repeat_2": repeat(blocks[2] - 1, residual(block_8(), 0.20)),
        "block8": residual(block_8(), 1.0, last=True),
        "conv2d_7b": Conv(1536, 1),
    }


class InceptionResNet(Network):
    """A stem, and three series of residual blocks with reductions between them."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        self.features = stack(w_in, row.width, layers(row.blocks))
        self.head = nn.Sequential(
            nn.AvgPool2d(map_side(self.features, row.size, w_in), stride=1), Dropout(0.2), nn.Flatten(),
            nn.Linear(maps_out(self.features, w_in), classes),
        )  # fmt: skip
        init_glorot(self)


def timm_tensor_name(name: str) -> str:
    """Return a tensor's name in timm, such as "repeat_1.0.branch1.2.conv.weight"."""
    return name.removeprefix("features.").replace(".branches.", ".").replace("head.3", "classif")


NETS = {
    "inception-resnet-v2": NetworkEntry(
        build=InceptionResNet, row=Row(), parameters=55_843_464, paper="arXiv:1602.07261", year=2016,
        result=PaperResult(19.9, 4.9, "1 crop, without blacklisted images"),
        foreign={"timm": ForeignNetwork("inception_resnet_v2", timm_tensor_name)}, small={"size": 107},
    ),
}  # fmt: skip
