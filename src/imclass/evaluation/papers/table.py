"""Rows of result tables: the tested networks and protocols, as the papers describe them."""
# Tested in tests/evaluation/papers/test_vgg.py

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

LETTERS = {
    "vgg-a": "A", "vgg-a-lrn": "A-LRN", "vgg-b": "B", "vgg-c": "C", "vgg-d": "D", "vgg-e": "E",
}  # fmt: skip
METHODS = {  # the papers' names for imclass's protocols
    "": "as trained",
    "center": "1 crop",
    "tencrop": "10 crops",
    "googlenet144": "144 crops",
    "vgg-multicrop": "multi-crop",
    "dense+multicrop": "multi-crop & dense",
    "resnet-multiscale": "multi-scale",
    "spp": "96 + 2 views",
}
FUSION_METHODS = {  # the names in the VGG paper's Table 6
    "dense": "dense eval.",
    "dense+multicrop": "multi-crop & dense eval.",
}


@dataclass(frozen=True)
class Net:
    """A trained network, with its training and test scales.

    A scale is the length in pixels to which the shorter side of an image is rescaled. A tuple is empty if its
    scales are unknown.
    """

    network: str  # its name in NETS
    train: tuple[int, ...] = ()  # S: one value, or the ends of the range from which S was drawn
    test: tuple[int, ...] = ()  # Q
    size: int = 0  # side of the network's input in pixels; 0: as in its paper
    native: int = 0  # that side in the network's paper

    def is_like(self, published: "Net") -> bool:
        """Return whether S and Q equal those of a published network, or are unknown there.

        If the network's input is smaller or larger than in its paper, S and Q must be in proportion to it. The
        tolerance is 2%, because S and Q are rounded to whole pixels.
        """
        ratio = self.native / self.size if self.size else 1.0
        return all(
            not theirs or (len(theirs) == len(ours) and all(map(partial(is_multiple, ratio), theirs, ours)))
            for theirs, ours in ((published.train, self.train), (published.test, self.test))
        )


def is_multiple(ratio: float, published: int, measured: int) -> bool:
    """Return whether a published scale is `ratio` times the measured one, to within 2%."""
    return abs(published - ratio * measured) <= 0.02 * published


@dataclass(frozen=True)
class RowSubject:
    """The subject of a row: the networks, fused if there is more than one, and the test protocol.

    Protocol "" means that each network's `preprocess` prepares the images.
    """

    nets: tuple[Net, ...] = ()
    protocol: str = ""  # a name in PROTOCOLS
    name: str = ""  # given by the user

    @property
    def method(self) -> str:
        """Return the papers' name for the protocol."""
        return METHODS.get(self.protocol, self.protocol)


@dataclass(frozen=True)
class PaperRow:
    """A published result."""

    tested: RowSubject
    numbers: tuple[str, ...]  # as printed; "" for a missing number
    label: str = ""  # the paper's name for the row, if the table's `cells` does not return that name


@dataclass(frozen=True)
class PaperTable:
    """A result table, with errors in percent. `cells` returns the texts that identify a row, one for each header."""

    title: str
    source: str
    headers: tuple[str, ...]
    cells: Callable[[RowSubject], tuple[str, ...]]
    numbers: tuple[str, ...]
    rows: tuple[PaperRow, ...]


def letter(net: Net) -> str:
    """Return the VGG paper's letter for a network, or the network's name if it has no letter."""
    return LETTERS.get(net.network, net.network)


def format_train_scales(net: Net) -> str:
    """Return S as the VGG paper prints it: "256" or "[256;512]"."""
    return f"[{';'.join(map(str, net.train))}]" if len(net.train) > 1 else "".join(map(str, net.train)) or "-"


def format_test_scales(net: Net) -> str:
    """Return Q as the VGG paper prints it: "224,256,288"."""
    return ",".join(map(str, net.test)) or "-"


def format_networks(tested: RowSubject) -> str:
    """Return the networks on one line. If they are unknown, return the name that the user gave the row."""
    return " + ".join(map(letter, tested.nets)) or tested.name


def scale_cells(tested: RowSubject) -> tuple[str, ...]:
    """Return the cells for the network, S and Q."""
    return format_networks(tested), *(
        " + ".join(map(side, tested.nets)) or "-" for side in (format_train_scales, format_test_scales)
    )


def method_cells(tested: RowSubject) -> tuple[str, ...]:
    """Return the cells for the network and the evaluation method."""
    return format_networks(tested), tested.method


def member_cells(tested: RowSubject) -> tuple[str, ...]:
    """Return one cell for a fusion: "(D/256/224,256,288), (E/384/352,384,416), dense eval."."""
    nets = [f"({letter(net)}/{format_train_scales(net)}/{format_test_scales(net)})" for net in tested.nets] or [
        tested.name
    ]
    return (", ".join([*nets, FUSION_METHODS.get(tested.protocol, tested.method)]),)


def name_cells(tested: RowSubject) -> tuple[str, ...]:
    """Return one cell: the name that the user gave the row (or else its networks), followed by the method."""
    return (f"{tested.name or format_networks(tested)} ({tested.method})",)
