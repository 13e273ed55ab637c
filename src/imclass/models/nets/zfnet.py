"""ZFNet: visualizing and understanding convolutional networks.

Matthew Zeiler and Rob Fergus, ECCV 2014, arXiv:1311.2901, figure 3 and table 2: `zfnet-a` is the network in the figure,
and `zfnet-b` is the one in the table with 512, 1024 and 512 maps in layers 3 to 5. The first two pooling layers round
up; otherwise the maps would not have the side lengths in the figure: 110, 55, 26, 13 and 6.

Deviations, and points that the paper leaves open:
- The paper states no constants for its contrast normalisation across maps; here they are AlexNet's. As in figure 3, the
  normalisation follows the pooling.
- "All weights were initialized to 10^-2" is read as a standard deviation of 10^-2, because equal weights would remain
  equal.
- During training, the paper rescales filters whose root mean square exceeds 0.1. Here this step is left out, because it
  is not part of the network.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.heads import fully_connected
from imclass.models.layers.initialisers import init_normal
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A ZFNet variant: the widths of its layers, and the standard deviation of the initial weights."""

    size: int = 224
    widths: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)  # of the five convolutions
    hidden: tuple[int, int] = (4096, 4096)  # units of the hidden layers
    init_std: float = 0.01


class ZFNet(Network):
    """Five convolutions, the first two and the last followed by max pooling, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        w1, w2, w3, w4, w5 = row.widths
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(w_in, w1, 7, stride=2, padding=1), relu1=nn.ReLU(inplace=True),
                pool1=nn.MaxPool2d(3, 2, ceil_mode=True), norm1=LocalResponseNorm(),
                conv2=nn.Conv2d(w1, w2, 5, stride=2), relu2=nn.ReLU(inplace=True),
                pool2=nn.MaxPool2d(3, 2, ceil_mode=True), norm2=LocalResponseNorm(),
                conv3=nn.Conv2d(w2, w3, 3, padding=1), relu3=nn.ReLU(inplace=True),
                conv4=nn.Conv2d(w3, w4, 3, padding=1), relu4=nn.ReLU(inplace=True),
                conv5=nn.Conv2d(w4, w5, 3, padding=1), relu5=nn.ReLU(inplace=True), pool5=nn.MaxPool2d(3, 2),
            )
        )  # fmt: skip
        side = map_side(self.features, row.size, w_in)
        self.head = fully_connected(w5 * side**2, row.hidden, classes)
        init_normal(self, row.init_std)


def entry(row: Row, parameters: int, top1: float, top5: float) -> NetworkEntry:
    """Return a network's entry with its errors.

    The small copy for tests needs larger initial weights. With the paper's weights, the signal would vanish in its
    narrow layers.
    """
    return NetworkEntry(
        build=ZFNet, row=row, parameters=parameters, paper="arXiv:1311.2901", year=2013,
        result=PaperResult(top1, top5), small={"size": 95, "init_std": 0.1},
    )  # fmt: skip


NETS = {
    "zfnet-a": entry(Row(), 62_357_608, 38.4, 16.5),
    "zfnet-b": entry(Row(widths=(96, 256, 512, 1024, 512)), 107_627_624, 37.5, 16.0),
}
