"""VGG for CIFAR-10 with batch norm and dropout: the image classification chapter of the PaddlePaddle book, 2016.

The book's `vgg_bn_drop` is VGG-D (Simonyan and Zisserman, ICLR 2015) for 32 x 32 images: 13 convolutions with biases,
and three fully connected layers of 512, 512 and 10 units, the second without ReLU. It has 15,254,602 parameters, and
the book reports an error of 8.54%. Paddle multiplies activations by 1 - p at test time. Here dropout divides them by
1 - p in training, which gives the same expected values. Convolution weights are drawn from N(0, 2 / fan-in) as in
Paddle, but fully connected layers have PyTorch's initial weights.
"""

from dataclasses import dataclass

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A variant of `vgg_bn_drop`: the convolutions of the five stages, the hidden layers, and their dropout."""

    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)  # of each stage
    convolutions: tuple[int, int, int, int, int] = (2, 2, 3, 3, 3)  # the number of convolutions in each stage
    # Dropout after each convolution of a stage except the last one.
    dropout: tuple[float, float, float, float, float] = (0.3, 0.4, 0.4, 0.4, 0.4)
    hidden: int = 512  # units of each of the two hidden layers
    head_dropout: float = 0.5  # before each of the first two fully connected layers
    size: int = 32


class VGGBNDrop(Network):
    """Five stages of 3x3 convolutions with batch norm and dropout, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        stages: list[nn.Module] = []
        width = w_in
        for w_out, n, rate in zip(row.widths, row.convolutions, row.dropout, strict=True):
            for i in range(n):
                stages += convolution(width, w_out, rate if i < n - 1 else 0.0)
                width = w_out
            stages.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*stages)
        units = width * map_side(self.features, row.size, w_in) ** 2
        self.head = nn.Sequential(
            nn.Flatten(),
            Dropout(row.head_dropout), nn.Linear(units, row.hidden), nn.BatchNorm1d(row.hidden), nn.ReLU(inplace=True),
            Dropout(row.head_dropout), nn.Linear(row.hidden, row.hidden), nn.Linear(row.hidden, classes),
        )  # fmt: skip
        init_he_convolutions(self)


def convolution(w_in: int, w_out: int, rate: float) -> list[nn.Module]:
    """Return a 3x3 convolution with BN and ReLU, and dropout if its rate is above 0."""
    drop = [Dropout(rate)] if rate else []
    return [nn.Conv2d(w_in, w_out, 3, padding=1), nn.BatchNorm2d(w_out), nn.ReLU(inplace=True), *drop]


NETS = {
    "vgg-bn-drop": NetworkEntry(
        build=VGGBNDrop, row=Row(), parameters=15_254_602, paper="PaddlePaddle book, chapter 3", year=2016, classes=10,
        result=PaperResult(8.54, protocol="whole image"),
    ),
}  # fmt: skip
