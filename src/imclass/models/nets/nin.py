"""NIN: network in network.

Min Lin, Qiang Chen and Shuicheng Yan, ICLR 2014, arXiv:1312.4400, sections 3 and 4.1. An mlpconv layer is a convolution
followed by two 1x1 convolutions ("cccp" in the authors' files), each with a ReLU. The last mlpconv layer has one map
per class. The mean of that map is the class's score, so the network needs no fully connected layers. Pooling is 3x3
with stride 2, and rounds the size of the maps up.

The widths and the initialisation come from the authors' files, because the paper does not state them. `nin-cifar` is
their cuda-convnet definition for CIFAR-10. All its weights are drawn from N(0, 0.05^2), and dropout follows each
pooling layer. `nin-imagenet` is their network for ImageNet in Caffe's model zoo. In this network, the weights of three
layers have a standard deviation of 0.01 instead, and dropout follows only the last pooling layer.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_normal
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A NIN variant: its native size and, for each mlpconv layer, its widths, kernel size, stride and padding."""

    size: int
    widths: tuple[tuple[int, ...], ...]  # of the convolutions, except the very last, which has one map per class
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    dropout: tuple[float, ...]  # after each pooling layer
    init_std: float = 0.05  # the standard deviation of the initial weights
    fine: tuple[str, ...] = ()  # layers whose initial weights have a standard deviation of 0.01 instead


CIFAR = Row(
    size=32,
    widths=((192, 160, 96), (192, 192, 192), (192, 192)),
    kernels=(5, 5, 3),
    strides=(1, 1, 1),
    paddings=(2, 2, 1),
    dropout=(0.5, 0.5),
)
IMAGENET = Row(
    size=224,
    widths=((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024)),
    kernels=(11, 5, 3, 3),
    strides=(4, 1, 1, 1),
    paddings=(0, 2, 1, 1),
    dropout=(0.0, 0.0, 0.5),
    fine=("features.conv1", "features.conv3", "head.cccp8"),
)


class NIN(Network):
    """A stack of mlpconv layers with max pooling between them. The mean of each of the last maps is a class's score."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width, last = w_in, len(row.widths)
        table = zip(row.widths, row.kernels, row.strides, row.paddings, (*row.dropout, 0.0), strict=True)
        for n, (widths, kernel, stride, padding, rate) in enumerate(table, 1):
            layers.update(mlpconv(n, width, widths, kernel, stride, padding))
            width = widths[-1]
            if n < last:
                layers[f"pool{n}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
            if rate:
                layers[f"drop{n}"] = Dropout(rate)
        self.features = nn.Sequential(layers)
        maps: dict[str, nn.Module] = {f"cccp{2 * last}": nn.Conv2d(width, classes, 1), "relu": nn.ReLU(inplace=True)}
        side = map_side(self.features, row.size, w_in)
        self.head = nn.Sequential(OrderedDict(**maps, mean=nn.AvgPool2d(side, stride=1), flatten=nn.Flatten()))
        init_normal(self, row.init_std)
        for name in row.fine:
            init_normal(self.get_submodule(name), 0.01)


def mlpconv(
    n: int, w_in: int, widths: tuple[int, ...], kernel: int, stride: int, padding: int
) -> OrderedDict[str, nn.Module]:
    """Return the n-th mlpconv layer: a convolution and two 1x1 convolutions, each followed by a ReLU.

    With only two `widths`, the last 1x1 convolution and its ReLU are left out.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, w_out in zip((f"conv{n}", f"cccp{2 * n - 1}", f"cccp{2 * n}"), widths, strict=False):
        layers[name] = nn.Conv2d(w_in, w_out, kernel, stride, padding)
        layers[f"{name}_relu"] = nn.ReLU(inplace=True)
        w_in, kernel, stride, padding = w_out, 1, 1, 0
    return layers


SMALL_ROW = {"size": 63, "init_std": 0.2, "fine": ()}  # with 0.05, narrow layers would lose the signal
NETS = {
    "nin-cifar": NetworkEntry(
        build=NIN, row=CIFAR, parameters=966_986, paper="arXiv:1312.4400", year=2013, classes=10,
        result=PaperResult(8.81, protocol="whole image, trained with shifts and flips"), small=SMALL_ROW,
    ),
    "nin-imagenet": NetworkEntry(
        build=NIN, row=IMAGENET, parameters=7_595_176, paper="arXiv:1312.4400", year=2013,
        result=PaperResult(40.64, protocol="1 crop, Caffe's model zoo"), small=SMALL_ROW,
    ),
}  # fmt: skip
