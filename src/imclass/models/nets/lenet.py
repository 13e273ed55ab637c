"""LeNet-5: gradient-based learning applied to document recognition.

Yann LeCun, Leon Bottou, Yoshua Bengio and Patrick Haffner, Proceedings of the IEEE 86(11), 1998, section II.B, as
simplified in Francois Fleuret's lecture EE-559 7.2: ReLU instead of tanh, max pooling instead of trained subsampling, a
second convolution connected to all maps, a linear last layer, and PyTorch's initial weights. `lenet-5`, for 28 x 28
images without padding, has 44,426 parameters. `lenet-5-32`, for the paper's images padded to 32 x 32, has 61,706.
"""

from dataclasses import dataclass

from torch import nn

from imclass.models.entry import NetworkEntry
from imclass.models.layers.dropout import Dropout
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A LeNet-5 variant: its native size, the widths of its layers, and its dropout."""

    size: int = 28
    widths: tuple[int, int] = (6, 16)  # maps of the two convolutions
    hidden: tuple[int, int] = (120, 84)  # units of the two hidden layers
    dropout: float = 0.0  # after each hidden layer; the paper has none


class LeNet(Network):
    """Two 5x5 convolutions, each followed by a ReLU and 2x2 max pooling, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 10, w_in: int = 1) -> None:
        if row.size < 16:
            raise ValueError(f"size is {row.size}; it must be at least 16, or the second pooling leaves nothing")
        super().__init__(size=row.size, w_in=w_in)
        self.features = nn.Sequential(
            nn.Conv2d(w_in, row.widths[0], 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(row.widths[0], row.widths[1], 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        )  # fmt: skip
        side = ((row.size - 4) // 2 - 4) // 2
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(row.widths[1] * side * side, row.hidden[0]), nn.ReLU(inplace=True), Dropout(row.dropout),
            nn.Linear(row.hidden[0], row.hidden[1]), nn.ReLU(inplace=True), Dropout(row.dropout),
            nn.Linear(row.hidden[1], classes),
        )  # fmt: skip


def entry(row: Row, parameters: int) -> NetworkEntry:
    """Return a network's entry."""
    return NetworkEntry(
        build=LeNet, row=row, parameters=parameters, paper="LeCun et al. 1998", year=1998, classes=10, w_in=1
    )


NETS = {
    "lenet-5": entry(Row(), 44_426),
    "lenet-5-32": entry(Row(size=32), 61_706),
}
