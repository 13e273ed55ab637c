"""GoogLeNet: going deeper with convolutions.

Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed, Dragomir Anguelov, Dumitru Erhan, Vincent
Vanhoucke and Andrew Rabinovich, CVPR 2015, arXiv:1409.4842. `googlenet` is the network of Table 1, with the blocks of
figure 2b and the two auxiliary heads of section 5, which add 6,379,728 parameters in training. Where the paper is
silent, the network follows BVLC's Caffe model:
- max pooling keeps the last window even if it is not full;
- weights are initialised with Caffe's "xavier" rule, U(-b, b) with b = sqrt(3 / fan-in); biases start at 0.2, or at 0
  in classifiers.
Local response normalisation comes after the first pooling layer and before the second (figure 3). It has AlexNet's
constants, but BVLC's weights need k = 1 and alpha = 2e-5.

`googlenet-naive` is the same network with the blocks of figure 2a. These blocks have no 1x1 reductions, and their
pooled maps are not projected. The paper shows these blocks only to reject them, because the number of maps grows to
4,944.

`googlenet-bn` is torchvision's network, which is not in the paper. It has batch norm instead of response normalisation
and biases, a 3x3 convolution in place of each 5x5, a fourth pooling layer with 2x2 windows, auxiliary heads with
average pooling to 4x4, and dropout of 0.2. Its convolution weights are drawn from N(0, 2 / fan-in). In torchvision all
weights are drawn with a standard deviation of 0.01.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult
from imclass.models.layers.branches import (
    Conv,
    LayerSpec,
    auxiliary_side,
    branches,
    layers_up_to,
    maps_out,
    scale_width,
    spec_of,
    stack,
)
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import fill_bias, init_he_convolutions, weighted_layers
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A GoogLeNet variant: its native size, a multiplier for all widths, and the options that distinguish variants."""

    size: int = 224
    width: float = 1.0  # a multiplier for all widths
    reduced: bool = True  # the blocks of figure 2b instead of those of figure 2a
    aux: bool = True  # whether there are auxiliary heads
    k: float = 2.0  # the constant of local response normalisation
    alpha: float = 1e-4  # multiplies the sum of five squares in local response normalisation
    batch_norm: bool = False  # in place of local response normalisation and biases
    kernel: int = 5  # of the convolution in the third branch of each block
    pool4: int = 3  # the window of the fourth pooling layer
    dropout: float = 0.4


# Widths in Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
BLOCKS: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class GoogLeNet(Network):
    """Three convolutions, then nine Inception blocks in groups of two, five and two with pooling between the groups."""

    side_weight = 0.3

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        self.features = stack(w_in, row.width, layers(row))
        side = map_side(self.features, row.size, w_in)
        self.head = nn.Sequential(
            nn.AvgPool2d(side, stride=1), Dropout(row.dropout), nn.Flatten(),
            nn.Linear(maps_out(self.features, w_in), classes),
        )  # fmt: skip
        for name in ("inception4a", "inception4d") if row.aux else ():
            self.sides[name] = auxiliary_head(layers_up_to(self.features, name), row, classes, w_in)
        initialise(self, row)


def layers(row: Row) -> dict[str, LayerSpec]:
    """Return the layers of Table 1 from top to bottom."""
    conv = partial(Conv, batch_norm=row.batch_norm)
    norm = spec_of(lambda: LocalResponseNorm(5, row.k, row.alpha))
    pool = spec_of(lambda: nn.MaxPool2d(3, 2, ceil_mode=True))
    pool4 = spec_of(lambda: nn.MaxPool2d(row.pool4, 2, ceil_mode=True))

    def blocks(*names: str) -> dict[str, LayerSpec]:
        return {f"inception{name}": block(BLOCKS[name], row) for name in names}

    parts: dict[str, LayerSpec] = {
        "conv1": conv(64, 7, 2), "pool1": pool, "norm1": norm,
        "conv2": conv(64, 1), "conv3": conv(192, 3), "norm2": norm, "pool2": pool,
        **blocks("3a", "3b"), "pool3": pool,
        **blocks("4a", "4b", "4c", "4d", "4e"), "pool4": pool4,
        **blocks("5a", "5b"),
    }  # fmt: skip
    return {name: part for name, part in parts.items() if part is not norm or not row.batch_norm}


def block(widths: tuple[int, int, int, int, int, int], row: Row) -> LayerSpec:
    """Return the Inception block of figure 2b if `row.reduced` is set, else that of figure 2a."""
    one, reduce3, three, reduce5, five, projection = widths
    conv = partial(Conv, batch_norm=row.batch_norm)
    pool = spec_of(lambda: nn.MaxPool2d(3, 1, padding=1))
    if not row.reduced:
        return branches(
            branch1=[conv(one, 1)], branch2=[conv(three, 3)], branch3=[conv(five, row.kernel)], branch4=[pool]
        )
    return branches(
        branch1=[conv(one, 1)],
        branch2=[conv(reduce3, 1), conv(three, 3)],
        branch3=[conv(reduce5, 1), conv(five, row.kernel)],
        branch4=[pool, conv(projection, 1)],
    )


def auxiliary_head(trunk: nn.Sequential, row: Row, classes: int, w_in: int) -> nn.Sequential:
    """Return an auxiliary head (section 5): average pooling, a 1x1 convolution and two linear layers.

    The pooling is 5x5 with stride 3. If the row has batch norm, it is adaptive and outputs 4x4 maps instead.
    """
    pool = nn.AdaptiveAvgPool2d(4) if row.batch_norm else nn.AvgPool2d(5, 3)
    side = auxiliary_side(nn.Sequential(trunk, pool), row.size, w_in)
    maps, units = scale_width(128, row.width), scale_width(1024, row.width)
    return nn.Sequential(
        OrderedDict(
            pool=pool,
            conv=Conv(128, 1, batch_norm=row.batch_norm)(maps_out(trunk, w_in), row.width),
            flatten=nn.Flatten(),
            fc1=nn.Linear(maps * side * side, units),
            relu=nn.ReLU(inplace=True),
            dropout=Dropout(0.7),
            fc2=nn.Linear(units, classes),
        )
    )


def initialise(network: GoogLeNet, row: Row) -> None:
    """Initialise weights and biases by Caffe's rule or, if the row has batch norm, by `init_he_convolutions`.

    Caffe's rule draws weights from U(-b, b) with b = sqrt(3 / fan-in). It sets biases to 0.2, or to 0 in classifiers.
    """
    if row.batch_norm:
        init_he_convolutions(network)
        return
    classifiers = [list(part.children())[-1] for part in (network.head, *network.sides.values())]
    for layer in weighted_layers(network):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
        fill_bias(layer, 0.0 if layer in classifiers else 0.2)


TORCHVISION = {  # from prefixes of our tensor names to torchvision's
    "features.": "",
    "head.3": "fc",
    "sides.inception4a": "aux1",
    "sides.inception4d": "aux2",
}
CAFFE = {"conv1": "conv1.7x7_s2", "conv2": "conv2.3x3_reduce", "conv3": "conv2.3x3", "head.3": "loss3.classifier"}
CAFFE_BRANCHES = {  # from our names of a block's layers to Caffe's
    "branch1": "1x1", "branch2.0": "3x3_reduce", "branch2.1": "3x3", "branch3.0": "5x5_reduce", "branch3.1": "5x5",
    "branch4.1": "pool_proj",
}  # fmt: skip


def torchvision_tensor_name(name: str) -> str:
    """Return a tensor's name in torchvision."""
    ours = next(start for start in TORCHVISION if name.startswith(start))
    return TORCHVISION[ours] + name.removeprefix(ours)


def caffe_tensor_name(name: str) -> str:
    """Return a tensor's name in BVLC's model, with "." in place of "/", such as "inception_3a.5x5_reduce.weight"."""
    layer, kind = name.removeprefix("features.").replace(".conv.", ".").rsplit(".", 1)
    inception, _, branch = layer.partition(".")
    theirs = CAFFE.get(layer) or f"{inception.replace('inception', 'inception_')}.{CAFFE_BRANCHES[branch]}"
    return f"{theirs}.{kind}"


BVLC = ForeignNetwork("bvlc_googlenet", caffe_tensor_name, {"aux": False, "k": 1.0, "alpha": 2e-5})
SMALL_ROW = {"size": 64, "aux": False}
NETS = {
    "googlenet": NetworkEntry(
        build=GoogLeNet, row=Row(), parameters=6_998_552, paper="arXiv:1409.4842", year=2014,
        result=PaperResult(top5=10.07, protocol="1 crop"), foreign={"caffe": BVLC}, small=SMALL_ROW,
    ),
    "googlenet-naive": NetworkEntry(
        build=GoogLeNet, row=Row(reduced=False), parameters=97_526_008, paper="arXiv:1409.4842", year=2014,
        small=SMALL_ROW,
    ),
    "googlenet-bn": NetworkEntry(
        build=GoogLeNet, row=Row(batch_norm=True, kernel=3, pool4=2, dropout=0.2), parameters=6_624_904,
        paper="torchvision 0.3", year=2019, small=SMALL_ROW,
        foreign={"torchvision": ForeignNetwork("googlenet", torchvision_tensor_name)},
    ),
}  # fmt: skip
