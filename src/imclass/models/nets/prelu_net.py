"""PReLU-net: delving deep into rectifiers.

Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, ICCV 2015, arXiv:1502.01852: model C of Table 3.

| side of the maps | layers |
|---|---|
| 112 | 7x7 convolution of stride 2, 96 maps |
| 56 | 2x2 max pooling, six 3x3 convolutions, 384 maps |
| 28 | 2x2 max pooling, six 3x3 convolutions, 768 maps |
| 14 | 2x2 max pooling, six 3x3 convolutions, 896 maps |
| - | spatial pyramid of 7, 3, 2 and 1 bins a side: 63 bins |
| - | fully connected: 4096, 4096, 1000 |

A PReLU follows each layer except the last, with one slope a channel (section 2.1). With
f(y) = max(0, y) + a min(0, y), slopes start at a = 0.25, and weights are drawn from N(0, 2 / ((1 + a^2) fan-in))
(section 2.2). Dropout of 0.5 follows the first two fully connected layers.

Deviation: the paper's weight decay leaves the slopes out, because it would draw them to 0. Our optimisers decay every
parameter.
"""

from collections import OrderedDict
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import fill_bias, weighted_layers
from imclass.models.layers.pyramid import SpatialPyramid
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A column of Table 3."""

    stem: int = 96  # maps of the first convolution
    widths: tuple[int, int, int] = (384, 768, 896)  # of each stage
    blocks: tuple[int, int, int] = (6, 6, 6)  # the number of convolutions in each stage
    bins: tuple[int, ...] = (7, 3, 2, 1)  # a side, in each level of the pyramid
    hidden: tuple[int, int] = (4096, 4096)  # units of the hidden layers
    slope: float = 0.25  # the initial slope of each PReLU for negative values
    size: int = 224


class PReLUNet(Network):
    """A 7x7 convolution, three stages of 3x3 convolutions, a spatial pyramid, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = nn.Conv2d(w_in, row.stem, 7, stride=2, padding=3)
        layers["relu1"] = PReLU(row.stem, row.slope)
        width = row.stem
        for stage, (w_out, n) in enumerate(zip(row.widths, row.blocks, strict=True), 2):
            layers[f"pool{stage - 1}"] = nn.MaxPool2d(2)
            for i in range(1, n + 1):
                layers[f"conv{stage}_{i}"] = nn.Conv2d(width, w_out, 3, padding=1)
                layers[f"relu{stage}_{i}"] = PReLU(w_out, row.slope)
                width = w_out
        self.features = nn.Sequential(layers)
        side = map_side(self.features, row.size, w_in, least=max(row.bins))
        head: OrderedDict[str, nn.Module] = OrderedDict(pyramid=SpatialPyramid(row.bins, side))
        width *= sum(n * n for n in row.bins)
        for n, units in enumerate(row.hidden, 1):
            head[f"fc{n}"], head[f"relu_fc{n}"] = nn.Linear(width, units), PReLU(units, row.slope)
            head[f"drop{n}"] = Dropout(0.5)
            width = units
        head[f"fc{len(row.hidden) + 1}"] = nn.Linear(width, classes)
        self.head = nn.Sequential(head)
        for layer in weighted_layers(self):
            nn.init.kaiming_normal_(layer.weight, a=row.slope, nonlinearity="leaky_relu")
            fill_bias(layer, 0.0)


class PReLU(nn.PReLU):
    """A rectifier with a learned slope for the negative values of each channel (equation 1).

    The slopes are cast to the precision of the maps, because PyTorch's layer does not mix precisions.
    """

    def forward(self, maps: Float[Tensor, "N C *S"]) -> Float[Tensor, "N C *S"]:
        return functional.prelu(maps, self.weight.to(maps.dtype))


NETS = {
    "prelu-net-c": NetworkEntry(
        build=PReLUNet, row=Row(), parameters=330_623_944, paper="arXiv:1502.01852", year=2015,
        result=PaperResult(21.59, 5.71, "dense, multi-scale"), small={"size": 64, "stem": 12, "bins": (3, 2, 1)},
    ),
}  # fmt: skip
