"""SPP-net: spatial pyramid pooling in deep convolutional networks for visual recognition.

Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, ECCV 2014, arXiv:1406.4729, Table 1: ZF-5, a network after ZFNet,
and Overfeat-7, after OverFeat, which is the authors' single network in ILSVRC 2014. A pyramid of 6x6, 3x3, 2x2 and 1x1
bins (50 in total) replaces the last pooling layer. The number of weights does not depend on `size`, so the multi-size
training of section 2.3 is a chain of stages with networks of 224 and 180 pixels. `dense` applies the pyramid to every
window of the maps, as in section 3.1.5.

Points that the paper leaves open follow the authors' released Caffe definition of ZF-5 (`Zeiler_conv5.prototxt`):
- the paddings, and pooling that keeps a last window that is not full, which give maps of 55, 26 and 13 pixels;
- response normalisation within each channel, between the ReLU and the pooling;
- the coarsest level of the pyramid first;
- initial biases of 1 in convolutions 2, 4 and 5 and in the hidden layers. There, those of the last layer are 1, too,
  which changes no probability.
Overfeat-7 has the same normalisation after its first pooling. Its paddings and its pooling, which rounds down, give the
table's maps of 36 and 18 pixels.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult, caffe_name
from imclass.models.layers.heads import fully_connected
from imclass.models.layers.initialisers import init_alexnet
from imclass.models.layers.normalisation import SpatialResponseNorm
from imclass.models.layers.pyramid import SpatialPyramid
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A column of Table 1. The first convolution is 7x7 with stride 2, the second 5x5, and the others are 3x3."""

    widths: tuple[int, ...]  # of the convolutions
    stride2: int  # of the second convolution
    padding2: int
    pools: tuple[tuple[int, int], tuple[int, int]]  # window and stride, after convolutions 1 and 2
    ceil_mode: bool  # whether pooling keeps a last window that is not full
    norm_first: bool  # whether normalisation is before both poolings instead of after the first
    bins: tuple[int, ...] = (1, 2, 3, 6)  # the bins per side of each level of the pyramid
    size: int = 224
    hidden: tuple[int, int] = (4096, 4096)  # units of the hidden layers


ZF_5 = Row(
    widths=(96, 256, 384, 384, 256),
    stride2=2,
    padding2=0,
    pools=((3, 2), (3, 2)),
    ceil_mode=True,
    norm_first=True,
)
OVERFEAT_7 = Row(
    widths=(96, 256, 512, 512, 512, 512, 512),
    stride2=1,
    padding2=2,
    pools=((3, 3), (2, 2)),
    ceil_mode=False,
    norm_first=False,
)


class SPPNet(Network):
    """Convolutions, the first two followed by max pooling, a spatial pyramid, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        first = {1: (7, 2, 1), 2: (5, row.stride2, row.padding2)}  # kernel, stride and padding
        width = w_in
        for n, w_out in enumerate(row.widths, 1):
            layers[f"conv{n}"] = nn.Conv2d(width, w_out, *first.get(n, (3, 1, 1)))
            layers[f"relu{n}"] = nn.ReLU(inplace=True)
            if n in first:
                pool: dict[str, nn.Module] = {f"pool{n}": nn.MaxPool2d(*row.pools[n - 1], ceil_mode=row.ceil_mode)}
                norm: dict[str, nn.Module] = {f"norm{n}": SpatialResponseNorm()} if n == 1 or row.norm_first else {}
                layers.update(norm | pool if row.norm_first else pool | norm)
            width = w_out
        self.features = nn.Sequential(layers)
        side = map_side(self.features, row.size, w_in, least=max(row.bins))
        connected = fully_connected(width * sum(n**2 for n in row.bins), row.hidden, classes)
        self.head = nn.Sequential(
            OrderedDict(pyramid=SpatialPyramid(row.bins, side), **dict(connected.named_children()))
        )
        init_alexnet(self)


# The errors are those of ZF-5 trained at 224 pixels (section 3.1.2), and of Overfeat-7 trained at 224 and 180 (3.1.3).
NETS = {
    "spp-zf-5": NetworkEntry(
        build=SPPNet, row=ZF_5, parameters=77_037_672, paper="arXiv:1406.4729", year=2014,
        result=PaperResult(34.98, 14.14, "10 crops"), small={"size": 63, "bins": (1, 2, 3)},
        foreign={"caffe": ForeignNetwork("Zeiler_conv5", caffe_name)},
    ),
    "spp-overfeat-7": NetworkEntry(
        build=SPPNet, row=OVERFEAT_7, parameters=136_988_264, paper="arXiv:1406.4729", year=2014,
        result=PaperResult(29.68, 10.95, "10 crops"), small={"size": 63, "bins": (1, 2, 3)},
    ),
}  # fmt: skip
