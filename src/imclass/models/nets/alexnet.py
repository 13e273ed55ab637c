"""AlexNet: ImageNet classification with deep convolutional neural networks.

Alex Krizhevsky, Ilya Sutskever and Geoffrey Hinton, NIPS 2012, sections 3 and 4.2. `alexnet-2012` is the network in
this paper. Convolutions 2, 4 and 5 have two groups (one per GPU), and local response normalisation follows the first
two ReLUs. `alexnet-2012-ungrouped` has the same widths without groups. `alexnet` is the network in Francois Fleuret's
lecture EE-559 7.2 and in torchvision. It is narrower and is based on Krizhevsky, "One weird trick for parallelizing
convolutional neural networks", 2014, arXiv:1404.5997.

Deviations:
- `alexnet-2012` expects 227 x 227 pixels. The paper states 224, but the first convolution is 11x11 with stride 4 and
  has no padding, so it cannot produce the reported 55 x 55 maps from that size.
- As in the lecture, `alexnet` has dropout before the hidden layers instead of after them, 256 maps in convolution 4,
  and no response normalisation. arXiv:1404.5997 has 384 maps in convolution 4. Krizhevsky's cuda-convnet2 files also
  have 256, but use response normalisation.
- The weights of `alexnet` are initialised as in the 2012 paper, not with PyTorch's defaults.
- In training, dropout divides the outputs that it keeps by 0.5. The paper multiplies all outputs by 0.5 at test time
  instead.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult, rename_layer
from imclass.models.layers.heads import fully_connected
from imclass.models.layers.initialisers import init_alexnet
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """An AlexNet variant: its native size, the widths of its layers, and the options that distinguish the variants."""

    size: int = 227
    widths: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)  # of the five convolutions
    hidden: tuple[int, int] = (4096, 4096)  # units of the hidden layers
    padding: int = 0  # of the first convolution
    groups: int = 1  # of convolutions 2, 4 and 5
    response_norm: bool = True
    drop_inputs: bool = False  # dropout before the hidden layers instead of after them


class AlexNet(Network):
    """Five convolutions, the first two and the last followed by max pooling, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        w1, w2, w3, w4, w5 = row.widths
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(w_in, w1, 11, stride=4, padding=row.padding),
                **activation(1, row.response_norm), pool1=nn.MaxPool2d(3, 2),
                conv2=nn.Conv2d(w1, w2, 5, padding=2, groups=row.groups),
                **activation(2, row.response_norm), pool2=nn.MaxPool2d(3, 2),
                conv3=nn.Conv2d(w2, w3, 3, padding=1), **activation(3),
                conv4=nn.Conv2d(w3, w4, 3, padding=1, groups=row.groups), **activation(4),
                conv5=nn.Conv2d(w4, w5, 3, padding=1, groups=row.groups), **activation(5), pool5=nn.MaxPool2d(3, 2),
            )
        )  # fmt: skip
        side = map_side(self.features, row.size, w_in)
        self.head = fully_connected(w5 * side**2, row.hidden, classes, drop_inputs=row.drop_inputs)
        init_alexnet(self)


def activation(n: int, response_norm: bool = False) -> dict[str, nn.Module]:
    """Return the layers after convolution `n`: a ReLU and, if `response_norm` is set, response normalisation."""
    norm: dict[str, nn.Module] = {f"norm{n}": LocalResponseNorm()} if response_norm else {}
    return {f"relu{n}": nn.ReLU(inplace=True)} | norm


TORCHVISION = {
    "features.conv1": "features.0", "features.conv2": "features.3", "features.conv3": "features.6",
    "features.conv4": "features.8", "features.conv5": "features.10",
    "head.fc6": "classifier.1", "head.fc7": "classifier.4", "head.fc8": "classifier.6",
}  # fmt: skip


SMALL_ROW = {"size": 95}
NETS = {
    "alexnet": NetworkEntry(
        build=AlexNet, row=Row(224, (64, 192, 384, 256, 256), padding=2, response_norm=False, drop_inputs=True),
        parameters=61_100_840, paper="arXiv:1404.5997", year=2014,
        result=PaperResult(43.48, 20.93, "1 crop, torchvision's weights"),
        foreign={"torchvision": ForeignNetwork("alexnet", partial(rename_layer, layers=TORCHVISION))}, small=SMALL_ROW,
    ),
    "alexnet-2012": NetworkEntry(
        build=AlexNet, row=Row(groups=2), parameters=60_965_224, paper="Krizhevsky et al. 2012", year=2012,
        result=PaperResult(40.7, 18.2, "10 crops"), small=SMALL_ROW,
    ),
    "alexnet-2012-ungrouped": NetworkEntry(
        build=AlexNet, row=Row(), parameters=62_378_344, paper="Krizhevsky et al. 2012", year=2012, small=SMALL_ROW,
    ),
}  # fmt: skip
