"""OverFeat: integrated recognition, localization and detection using convolutional networks.

Pierre Sermanet, David Eigen, Xiang Zhang, Michael Mathieu, Rob Fergus and Yann LeCun, ICLR 2014, arXiv:1312.6229: the
fast network of table 1 and the accurate one of table 3. Unlike AlexNet, they have no response normalisation, and their
pooling windows do not overlap. The total stride is 32 pixels in the fast network and 36 in the accurate one.

The paper draws weights from N(0, 0.01^2) but does not state the initial biases. Here they are 0.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.heads import fully_connected
from imclass.models.layers.initialisers import init_normal
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """The settings in a table of the paper. Most fields have one value per convolution."""

    size: int
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    pools: tuple[int, ...]  # side and stride of the max pooling after each convolution; 0 for no pooling
    hidden: tuple[int, int]  # units of the hidden layers
    init_std: float = 0.01  # the standard deviation of the initial weights


FAST = Row(
    size=231,
    widths=(96, 256, 512, 1024, 1024),
    kernels=(11, 5, 3, 3, 3),
    strides=(4, 1, 1, 1, 1),
    paddings=(0, 0, 1, 1, 1),
    pools=(2, 2, 0, 0, 2),
    hidden=(3072, 4096),
)
ACCURATE = Row(
    size=221,
    widths=(96, 256, 512, 512, 1024, 1024),
    kernels=(7, 7, 3, 3, 3, 3),
    strides=(2, 1, 1, 1, 1, 1),
    paddings=(0, 0, 1, 1, 1, 1),
    pools=(3, 2, 0, 0, 0, 3),
    hidden=(4096, 4096),
)


class OverFeat(Network):
    """Five or six convolutions, some followed by max pooling, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        table = zip(row.widths, row.kernels, row.strides, row.paddings, row.pools, strict=True)
        width = w_in
        for n, (w_out, kernel, stride, padding, pool) in enumerate(table, 1):
            layers[f"conv{n}"] = nn.Conv2d(width, w_out, kernel, stride, padding)
            layers[f"relu{n}"] = nn.ReLU(inplace=True)
            if pool:
                layers[f"pool{n}"] = nn.MaxPool2d(pool)
            width = w_out
        self.features = nn.Sequential(layers)
        side = map_side(self.features, row.size, w_in)
        self.head = fully_connected(width * side**2, row.hidden, classes, first=len(row.widths) + 1)
        init_normal(self, row.init_std)


def entry(row: Row, parameters: int, result: PaperResult) -> NetworkEntry:
    """Return a network's entry.

    The small copy for tests needs larger initial weights. With the paper's weights, the signal would vanish in its
    narrow layers.
    """
    return NetworkEntry(
        build=OverFeat, row=row, parameters=parameters, paper="arXiv:1312.6229", year=2013, result=result,
        small={"size": 127, "init_std": 0.05},
    )  # fmt: skip


NETS = {
    "overfeat-fast": entry(FAST, 145_920_872, PaperResult(39.28, 17.12, "dense, 1 scale, coarse stride")),
    "overfeat-accurate": entry(ACCURATE, 144_656_488, PaperResult(35.74, 14.18, "dense, 4 scales, fine stride")),
}
