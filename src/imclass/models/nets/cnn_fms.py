"""CNN-F, CNN-M and CNN-S: return of the devil in the details, delving deep into convolutional nets.

Ken Chatfield, Karen Simonyan, Andrea Vedaldi and Andrew Zisserman, BMVC 2014, arXiv:1405.3531, Table 1. The fast
network is a narrower AlexNet. The medium one is similar to ZFNet. In the slow one, the second convolution has a stride
of 1, and the poolings have longer ones.

Points that the paper leaves open follow the authors' released Caffe definitions, whose weights these networks take:
- Response normalisation comes between the ReLU and the pooling, with AlexNet's constants.
- Pooling keeps the last window even if it is not full. The last maps are then 6 x 6 in all three networks.

Deviations:
- The paper draws weights with a variance of 10^-2. As in `vgg`, 10^-2 is their standard deviation here (`init_std`).
- The released weights expect images minus a mean image of 224 x 224 pixels, which is a separate file. Without it
  (`--preprocess`), the mean colour of the authors' later networks is subtracted.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult, caffe_name
from imclass.models.layers.heads import fully_connected
from imclass.models.layers.initialisers import init_normal
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A row of Table 1. Convolutions 3 to 5 are 3x3 with stride 1 and padding 1 in all networks."""

    widths: tuple[int, int, int, int, int]  # of the five convolutions
    kernels: tuple[int, int]  # of convolutions 1 and 2, as are the next fields
    strides: tuple[int, int]
    paddings: tuple[int, int]
    response_norms: tuple[bool, bool]
    pools: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # window and stride, after convolutions 1, 2 and 5
    size: int = 224
    hidden: tuple[int, int] = (4096, 4096)  # units of the hidden layers
    init_std: float = 0.01  # the standard deviation of the initial weights


FAST = Row(
    widths=(64, 256, 256, 256, 256),
    kernels=(11, 5),
    strides=(4, 1),
    paddings=(0, 2),
    response_norms=(True, True),
    pools=((3, 2), (3, 2), (3, 2)),
)
MEDIUM = Row(
    widths=(96, 256, 512, 512, 512),
    kernels=(7, 5),
    strides=(2, 2),
    paddings=(0, 1),
    response_norms=(True, True),
    pools=((3, 2), (3, 2), (3, 2)),
)
SLOW = Row(
    widths=(96, 256, 512, 512, 512),
    kernels=(7, 5),
    strides=(2, 1),
    paddings=(0, 0),
    response_norms=(True, False),
    pools=((3, 3), (2, 2), (3, 3)),
)


class CNNFMS(Network):
    """Five convolutions, the first two and the last followed by max pooling, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        table = zip(row.kernels, row.strides, row.paddings, row.response_norms, strict=True)
        width = w_in
        for n, (kernel, stride, padding, response_norm) in enumerate(table, 1):
            layers[f"conv{n}"] = nn.Conv2d(width, row.widths[n - 1], kernel, stride, padding)
            layers[f"relu{n}"] = nn.ReLU(inplace=True)
            if response_norm:
                layers[f"norm{n}"] = LocalResponseNorm()
            layers[f"pool{n}"] = nn.MaxPool2d(*row.pools[n - 1], ceil_mode=True)
            width = row.widths[n - 1]
        for n, w_out in enumerate(row.widths[2:], 3):
            layers[f"conv{n}"] = nn.Conv2d(width, w_out, 3, padding=1)
            layers[f"relu{n}"] = nn.ReLU(inplace=True)
            width = w_out
        layers["pool5"] = nn.MaxPool2d(*row.pools[2], ceil_mode=True)
        self.features = nn.Sequential(layers)
        side = map_side(self.features, row.size, w_in)
        self.head = fully_connected(width * side**2, row.hidden, classes)
        init_normal(self, row.init_std)


def entry(row: Row, parameters: int, top5: float, caffe: str) -> NetworkEntry:
    """Return a network's entry. `caffe` is the name of the authors' Caffe model.

    The small copy for tests needs larger initial weights. With the paper's weights, the signal would vanish in its
    narrow layers.
    """
    return NetworkEntry(
        build=CNNFMS, row=row, parameters=parameters, paper="arXiv:1405.3531", year=2014,
        result=PaperResult(top5=top5, protocol="10 crops"), small={"size": 96, "init_std": 0.1},
        foreign={"caffe": ForeignNetwork(caffe, caffe_name, inputs="caffe-vgg")},
    )  # fmt: skip


NETS = {  # The paper states no parameter counts; these are those of Table 1's layers. The errors are from Table 3.
    "cnn-f": entry(FAST, 60_834_536, 16.7, "VGG_CNN_F"),
    "cnn-m": entry(MEDIUM, 102_908_520, 13.7, "VGG_CNN_M"),
    "cnn-s": entry(SLOW, 102_908_520, 13.1, "VGG_CNN_S"),
}
