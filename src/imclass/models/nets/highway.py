"""Highway networks: training very deep networks.

Rupesh Kumar Srivastava, Klaus Greff and Juergen Schmidhuber, NIPS 2015, arXiv:1507.06228: the 19-layer convolutional
network for CIFAR-10, modelled on FitNet-4. Its constants come from the authors' released Caffe files: the widths,
dropout before each plain 3x3 convolution and before the last layer, and initial gate biases of -2. The network has the
1x1 convolution and the global average pooling of section 3.3.2. The network of section 3.3.1 (Table 2) has a fully
connected layer instead.

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
    hidden: int = 100  # maps of the final 1x1 convolution
    dropout: float = 0.2
    gate_bias: float = -2.0  # the initial biases of the gates
    size: int = 32


class Highway(Network):
    """Three stages of one plain 3x3 convolution and several gated ones, then a 1x1 convolution and a linear layer."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: list[nn.Module] = []
        maps = w_in
        for stage, (width, n) in enumerate(zip(row.widths, row.blocks, strict=True)):
            layers += [nn.MaxPool2d(2)] if stage else []
            layers += [Dropout(row.dropout), nn.Conv2d(maps, width, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [GatedConvolution(width) for _ in range(n)]
            maps = width
        self.features = nn.Sequential(*layers, nn.Conv2d(maps, row.hidden, 1), nn.ReLU(inplace=True))
        side = map_side(self.features, row.size, w_in)
        last = nn.Linear(row.hidden, classes)
        self.head = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.Flatten(), Dropout(row.dropout), last)
        initialise(self, row.gate_bias)


class GatedConvolution(nn.Module):
    """A gated layer, in which a learned gate T mixes the transformed input with the input itself (section 2.1).

    Its output is T * ReLU(conv(x)) + (1 - T) * x (equation 3). T is sigmoid(conv'(x)), and conv' is a second
    convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))
        self.gate = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Sigmoid())

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return torch.lerp(maps, self.transform(maps), self.gate(maps))


def initialise(network: Highway, gate_bias: float) -> None:
    """Initialise weights as the module docstring describes. Set gate biases to `gate_bias`, and other biases to 0."""
    init_he_convolutions(network)
    last = f"head.{len(network.head) - 1}"
    nn.init.zeros_(network.get_parameter(f"{last}.bias"))
    for layer in network.features:
        if isinstance(layer, GatedConvolution):
            nn.init.constant_(layer.gate.get_parameter("0.bias"), gate_bias)
    for name in ("features.1.weight", f"{last}.weight"):
        nn.init.normal_(network.get_parameter(name), std=0.05)


NETS = {
    "highway-19": NetworkEntry(
        build=Highway, row=Row(), parameters=2_256_838, paper="arXiv:1507.06228", year=2015, classes=10,
        result=PaperResult(7.60, protocol="whole image"),  # Table 3, best of 5 runs, mean 7.69 +- 0.12
    ),
}  # fmt: skip
