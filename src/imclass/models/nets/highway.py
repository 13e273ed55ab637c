"""Highway networks: training very deep networks.

Rupesh Kumar Srivastava, Klaus Greff and Juergen Schmidhuber, NIPS 2015, arXiv:1507.06228: three convolutional networks
for CIFAR-10. `highway-19` is the network of section 3.3.2 (Table 3). Its constants come from the authors' released
Caffe files: the widths, dropout before each plain 3x3 convolution and before the last layer, and initial gate biases of
-2. It has a 1x1 convolution and global average pooling where the networks of section 3.3.1 (Table 2) have a fully
connected layer. Those are `highway-19-fc` ("Highway B") and `highway-32` ("Highway C").

The authors released no files for the networks of Table 2, so two choices complete them:
- A fully connected layer of 100 units, as many as the maps of the 1x1 convolution that replaces it, follows max pooling
  over the whole map. With it, Highway B has 2.26 million parameters. The paper states about 2.3 million.
- Highway C is "thinner and deeper", with "alternating receptive fields of size 3x3 and 1x1" in 32 layers and about 1.25
  million parameters. 32 layers leave nine gated layers to each stage, which alternate after the plain 3x3 convolution,
  so the first and the last are 1x1. With widths of 32, 64 and 96 this makes 1.26 million parameters.

Most weights are drawn from N(0, 2 / fan-in), which is what "xavier" means in the released copy of Caffe. Those of the
first and last layers are drawn from N(0, 0.05^2). For the first layer, the released file states 0.05 under a key that
Caffe ignores, so Caffe uses a standard deviation of 1 instead.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A highway network with three stages of gated layers."""

    widths: tuple[int, int, int] = (32, 80, 128)  # of each stage
    blocks: tuple[int, int, int] = (4, 5, 5)  # the number of gated layers in each stage
    kernels: tuple[int, ...] = (3,)  # of the gated layers of a stage, repeated in this order
    hidden: int = 100  # maps of the final 1x1 convolution, or units of the fully connected layer
    connected: bool = False  # a fully connected layer after max pooling, in place of the 1x1 convolution
    dropout: float = 0.2
    gate_bias: float = -2.0  # the initial biases of the gates
    size: int = 32


class Highway(Network):
    """Three stages of one plain 3x3 convolution and several gated layers, then a hidden layer and a linear one."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: list[nn.Module] = []
        maps = w_in
        for stage, (width, n) in enumerate(zip(row.widths, row.blocks, strict=True)):
            layers += [nn.MaxPool2d(2)] if stage else []
            layers += [Dropout(row.dropout), nn.Conv2d(maps, width, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [GatedConvolution(width, row.kernels[i % len(row.kernels)]) for i in range(n)]
            maps = width
        side = map_side(nn.Sequential(*layers), row.size, w_in)
        head: list[nn.Module]
        if row.connected:
            layers.append(nn.MaxPool2d(side, stride=1))
            head = [nn.Flatten(), nn.Linear(maps, row.hidden), nn.ReLU(inplace=True)]
        else:
            layers += [nn.Conv2d(maps, row.hidden, 1), nn.ReLU(inplace=True)]
            head = [nn.AvgPool2d(side, stride=1), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(*head, Dropout(row.dropout), nn.Linear(row.hidden, classes))
        initialise(self, row.gate_bias)


class GatedConvolution(nn.Module):
    """A gated layer, in which a learned gate T mixes the transformed input with the input itself (section 2.1).

    Its output is T * ReLU(conv(x)) + (1 - T) * x (equation 3). T is sigmoid(conv'(x)), and conv' is a second
    convolution.
    """

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True))
        self.gate = nn.Sequential(nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.Sigmoid())

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return torch.lerp(maps, self.transform(maps), self.gate(maps))


def initialise(network: Highway, gate_bias: float) -> None:
    """Initialise weights as the module docstring describes. Set gate biases to `gate_bias`, and other biases to 0."""
    init_he_convolutions(network)
    last = f"head.{len(network.head) - 1}"
    nn.init.zeros_(network.get_parameter(f"{last}.bias"))
    for layer in [*network.head][:-1]:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    for layer in network.features:
        if isinstance(layer, GatedConvolution):
            nn.init.constant_(layer.gate.get_parameter("0.bias"), gate_bias)
    for name in ("features.1.weight", f"{last}.weight"):
        nn.init.normal_(network.get_parameter(name), std=0.05)


def entry(row: Row, parameters: int, top1: float) -> NetworkEntry:
    """Return a network's entry with its error."""
    return NetworkEntry(
        build=Highway, row=row, parameters=parameters, paper="arXiv:1507.06228", year=2015, classes=10,
        result=PaperResult(top1, protocol="whole image"),
    )  # fmt: skip


NETS = {
    "highway-19": entry(Row(), 2_256_838, 7.60),  # Table 3, best of 5 runs, mean 7.69 +- 0.12
    "highway-19-fc": entry(Row(connected=True), 2_256_838, 7.54),  # Table 2, best of 5 runs, mean 7.72 +- 0.16
    "highway-32": entry(
        Row(widths=(32, 64, 96), blocks=(9, 9, 9), kernels=(1, 3), connected=True), 1_264_502, 8.80
    ),  # Table 2
}
