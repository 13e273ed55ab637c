"""Multi-column deep neural networks for image classification.

Dan Ciresan, Ueli Meier and Juergen Schmidhuber, CVPR 2012, arXiv:1202.2745: one column for MNIST and one for CIFAR-10.
In the paper's notation these are 1x29x29-20C4-MP2-40C5-MP3-150N-10N and
3x32x32-300C3-MP2-300C2-MP2-300C3-MP2-300C2-MP2-300N-100N-10N. Convolutions have no padding. Poolings round up, so the
maps of the CIFAR network have sides of 30, 15, 14, 7, 5, 3, 2 and 1. Otherwise the last pooling would have no input.

A multi-column network is the mean of the probabilities of its columns: here, an ensemble of separately trained ones.
The paper has 35 columns for MNIST: five for the images themselves, and five for each of six copies in which the digits
have a width of 10, 12, ..., 20 pixels. Such copies are other data, and are not part of this file. For CIFAR-10 it has
eight.

The activation is a scaled hyperbolic tangent, here 1.7159 tanh(2/3 x) as in LeCun et al. 1998. Weights are drawn from
U(-0.05, 0.05). Biases start at 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.initialisers import fill_bias, weighted_layers
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A column: its convolutions, each followed by max pooling, and its hidden layers."""

    size: int
    widths: tuple[int, ...]  # maps of each convolution
    kernels: tuple[int, ...]  # the side of each convolution's kernel
    pools: tuple[int, ...]  # side and stride of the max pooling after each convolution
    hidden: tuple[int, ...]  # units of the hidden layers
    init_bound: float = 0.05  # the largest magnitude of the initial weights


FOR_MNIST = Row(29, widths=(20, 40), kernels=(4, 5), pools=(2, 3), hidden=(150,))
FOR_CIFAR = Row(32, widths=(300, 300, 300, 300), kernels=(3, 2, 3, 2), pools=(2, 2, 2, 2), hidden=(300, 100))


class Column(Network):
    """Convolutions with max pooling and fully connected layers, all but the last with a scaled hyperbolic tangent."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: list[nn.Module] = []
        width = w_in
        for w_out, kernel, pool in zip(row.widths, row.kernels, row.pools, strict=True):
            # The tangent rises monotonically, so it may follow the pooling, where it has fewer values to compute.
            layers += [nn.Conv2d(width, w_out, kernel), nn.MaxPool2d(pool, ceil_mode=True), ScaledTanh()]
            width = w_out
        self.features = nn.Sequential(*layers)
        width *= map_side(self.features, row.size, w_in) ** 2
        head: list[nn.Module] = [nn.Flatten()]
        for units in row.hidden:
            head += [nn.Linear(width, units), ScaledTanh()]
            width = units
        self.head = nn.Sequential(*head, nn.Linear(width, classes))
        for layer in weighted_layers(self):
            nn.init.uniform_(layer.weight, -row.init_bound, row.init_bound)
            fill_bias(layer, 0.0)


class ScaledTanh(nn.Module):
    """The activation 1.7159 tanh(2/3 x), which maps 1 to 1 and -1 to -1."""

    def forward(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return 1.7159 * torch.tanh(values * (2 / 3))


def entry(row: Row, w_in: int, parameters: int, error: float, columns: int) -> NetworkEntry:
    """Return a column's entry with the error of the whole multi-column network.

    The small copy for tests needs larger initial weights. With the paper's weights, the signal would vanish in its
    narrow layers.
    """
    return NetworkEntry(
        build=Column, row=row, parameters=parameters, paper="arXiv:1202.2745", year=2012, classes=10, w_in=w_in,
        result=PaperResult(error, protocol=f"whole image, {columns} columns"), small={"init_bound": 0.5},
    )  # fmt: skip


NETS = {
    "mcdnn-mnist": entry(FOR_MNIST, 1, 76_040, 0.23, columns=35),
    "mcdnn-cifar": entry(FOR_CIFAR, 3, 1_660_710, 11.21, columns=8),
}
