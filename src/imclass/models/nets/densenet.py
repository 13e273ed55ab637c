"""DenseNet: densely connected convolutional networks.

Gao Huang, Zhuang Liu, Laurens van der Maaten and Kilian Weinberger, CVPR 2017, arXiv:1608.06993. The networks for CIFAR
are those in section 3 and Table 2: plain DenseNets and DenseNet-BCs. The names of both contain the depth L and the
growth rate k. DenseNet-BCs have bottlenecks of 4k maps, and transitions that halve the number of maps. The networks for
ImageNet are the DenseNet-BCs in Table 1, except that the one with 161 layers comes from the released code.

A transition is a batch norm, a ReLU, a 1x1 convolution and 2x2 average pooling, as in the released code. The paper's
text does not mention the ReLU. The rows have no dropout, as in the paper's training with augmentation. Without
augmentation, the paper uses dropout of 0.2 after each convolution except the first.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A DenseNet variant: its growth rate, its dense blocks, and whether it is a DenseNet-BC."""

    growth: int  # k, the number of maps that each layer adds
    blocks: tuple[int, ...]  # the number of layers in each dense block
    bc: bool = True  # whether this is a DenseNet-BC
    stem_kernel: Literal[3, 7] = 7  # of the first convolution
    dropout: float = 0.0  # after each convolution except the first
    size: int = 224


class DenseNet(Network):
    """A 7x7 convolution and pooling (for CIFAR, a 3x3 convolution), then dense blocks with transitions between them."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        width = 2 * row.growth if row.bc else 16  # section 3, implementation details
        layers = first_layers(w_in, width, row.stem_kernel)
        for i, n in enumerate(row.blocks, 1):
            layers[f"denseblock{i}"] = nn.Sequential(*(DenseLayer(width + j * row.growth, row) for j in range(n)))
            width += n * row.growth
            if i < len(row.blocks):
                layers[f"transition{i}"] = transition(width, width // 2 if row.bc else width, row.dropout)
                width = width // 2 if row.bc else width
        layers[f"norm{len(row.blocks) + 1}"], layers["relu"] = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.features = nn.Sequential(layers)
        side = map_side(self.features, row.size, w_in)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), nn.Linear(width, classes))
        init_he_convolutions(self)


def first_layers(w_in: int, width: int, kernel: Literal[3, 7]) -> OrderedDict[str, nn.Module]:
    """Return the first convolution, followed by BN, ReLU and max pooling if its kernel is 7x7."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv0"] = nn.Conv2d(w_in, width, kernel, 2 if kernel == 7 else 1, padding=kernel // 2, bias=False)
    if kernel == 7:
        layers["norm0"], layers["relu0"] = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        layers["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
    return layers


class DenseLayer(nn.Module):
    """A layer of a dense block, which appends k new maps to its input (section 3).

    The new maps come from BN, ReLU and a 3x3 convolution. In a DenseNet-BC, these layers follow BN, ReLU and a 1x1
    convolution to 4k maps.
    """

    def __init__(self, w_in: int, row: Row) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if row.bc:
            layers |= activation_layers(1, nn.Conv2d(w_in, 4 * row.growth, 1, bias=False), row.dropout)
            w_in = 4 * row.growth
        last = nn.Conv2d(w_in, row.growth, 3, padding=1, bias=False)
        self.new = nn.Sequential(layers | activation_layers(2 if row.bc else 1, last, row.dropout))

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N c H W"]:
        return torch.cat((maps, self.new(maps)), dim=1)


def activation_layers(number: int, convolution: nn.Conv2d, dropout: float) -> OrderedDict[str, nn.Module]:
    """Return BN, ReLU, `convolution`, and dropout unless its rate is 0. `number` is part of the layers' names."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers[f"norm{number}"] = nn.BatchNorm2d(convolution.in_channels)
    layers[f"relu{number}"], layers[f"conv{number}"] = nn.ReLU(inplace=True), convolution
    if dropout:
        layers[f"dropout{number}"] = Dropout(dropout)
    return layers


def transition(w_in: int, w_out: int, dropout: float) -> nn.Sequential:
    """Return the layers between two blocks: BN, ReLU, a 1x1 convolution and 2x2 average pooling.

    Dropout precedes the pooling, unless the rate `dropout` is 0.
    """
    layers = OrderedDict(norm=nn.BatchNorm2d(w_in), relu=nn.ReLU(inplace=True))
    layers["conv"] = nn.Conv2d(w_in, w_out, 1, bias=False)
    if dropout:
        layers["dropout"] = Dropout(dropout)
    return nn.Sequential(layers | OrderedDict(pool=nn.AvgPool2d(2)))


def torchvision_tensor_name(name: str) -> str:
    """Return the name that torchvision and timm use for a tensor of an ImageNet DenseNet."""
    name = re.sub(r"\.(\d+)\.new\.", lambda m: f".denselayer{int(m[1]) + 1}.", name)
    return name.replace("head.2.", "classifier.")


def cifar(depth: int, growth: int, parameters: int, top1: float, bc: bool = False) -> NetworkEntry:
    """Return the entry for a CIFAR network. `top1` is the error on CIFAR-10 with augmentation (Table 2).

    The network has three blocks of equal depth. Outside the blocks, it has four layers with weights: the first
    convolution, those of the two transitions, and the fully connected layer.
    """
    row = Row(growth, ((depth - 4) // (6 if bc else 3),) * 3, bc, stem_kernel=3, size=32)
    return NetworkEntry(
        build=DenseNet, row=row, parameters=parameters, paper="arXiv:1608.06993", year=2016, classes=10,
        result=PaperResult(top1, protocol="whole image"), small={"size": 32},
    )  # fmt: skip


def imagenet(growth: int, blocks: tuple[int, ...], parameters: int, top1: float, theirs: str) -> NetworkEntry:
    """Return the entry for a network in Table 1. `theirs` is its name in torchvision and timm.

    `top1` is the error reported with the authors' code.
    """
    return NetworkEntry(
        build=DenseNet, row=Row(growth, blocks), parameters=parameters, paper="arXiv:1608.06993", year=2016,
        result=PaperResult(top1, protocol="1 crop"),
        foreign={library: ForeignNetwork(theirs, torchvision_tensor_name) for library in ("torchvision", "timm")},
        small={"size": 32},
    )  # fmt: skip


NETS = {
    "densenet-cifar-40-12": cifar(40, 12, 1_019_722, 5.24),
    "densenet-cifar-100-12": cifar(100, 12, 6_979_642, 4.10),
    "densenet-cifar-100-24": cifar(100, 24, 27_249_082, 3.74),
    "densenet-cifar-bc-100-12": cifar(100, 12, 769_162, 4.51, bc=True),
    "densenet-cifar-bc-250-24": cifar(250, 24, 15_324_406, 3.62, bc=True),
    "densenet-cifar-bc-190-40": cifar(190, 40, 25_624_430, 3.46, bc=True),
    "densenet-121": imagenet(32, (6, 12, 24, 16), 7_978_856, 25.0, "densenet121"),
    "densenet-161": imagenet(48, (6, 12, 36, 24), 28_681_000, 22.2, "densenet161"),
    "densenet-169": imagenet(32, (6, 12, 32, 32), 14_149_480, 23.6, "densenet169"),
    "densenet-201": imagenet(32, (6, 12, 48, 32), 20_013_928, 22.5, "densenet201"),
}
