"""What a row of a results table says was tested, and how the papers write that down."""
# Tested in tests/evaluation/papers/test_vgg.py

from collections.abc import Callable
from dataclasses import dataclass

LETTERS = {
    "vgg-a": "A", "vgg-a-lrn": "A-LRN", "vgg-b": "B", "vgg-c": "C", "vgg-d": "D", "vgg-e": "E",
}  # fmt: skip
METHODS = {
    "": "as trained",
    "center": "1 crop",
    "tencrop": "10 crops",
    "googlenet144": "144 crops",
    "vgg-multicrop": "multi-crop",
    "dense+multicrop": "multi-crop & dense",
    "resnet-multiscale": "multi-scale",
}
FUSION_METHODS = {
    "dense": "dense eval.",
    "dense+multicrop": "multi-crop & dense eval.",
}  # as the VGG paper's Table 6 has it


@dataclass(frozen=True)
class Net:
    """A trained network: its name in NETS, and the smallest sides of images in pixels, each empty where not known."""

    network: str
    train: tuple[int, ...] = ()  # S: one, or the ends of the range it was drawn from
    test: tuple[int, ...] = ()  # Q


@dataclass(frozen=True)
class RowSubject:
    """What a row is about: networks (several are fused) under a protocol of PROTOCOLS ("": each in its own way)."""

    nets: tuple[Net, ...] = ()
    protocol: str = ""
    name: str = ""  # that the user gave it

    @property
    def method(self) -> str:
        """The protocol in the papers' words."""
        return METHODS.get(self.protocol, self.protocol)


@dataclass(frozen=True)
class PaperRow:
    """A published result; numbers as they are printed, "" where there is none.

    `label` is what the paper calls it, where the table's `cells` do not say.
    """

    tested: RowSubject
    numbers: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table of results. `cells` gives what identifies a row, a text for each of `heads`; errors are in %."""

    title: str
    source: str
    heads: tuple[str, ...]
    cells: Callable[[RowSubject], tuple[str, ...]]
    numbers: tuple[str, ...]
    rows: tuple[PaperRow, ...]


def letter(net: Net) -> str:
    """The VGG paper's letter of a network, or the name of another."""
    return LETTERS.get(net.network, net.network)


def format_train_scales(net: Net) -> str:
    """S as the VGG paper prints it: "256", "[256;512]"."""
    return f"[{';'.join(map(str, net.train))}]" if len(net.train) > 1 else "".join(map(str, net.train)) or "-"


def format_test_scales(net: Net) -> str:
    """Q as the VGG paper prints it: "224,256,288"."""
    return ",".join(map(str, net.test)) or "-"


def format_networks(tested: RowSubject) -> str:
    """The networks on a line, or the user's name where they are not known."""
    return " + ".join(map(letter, tested.nets)) or tested.name


def scale_cells(tested: RowSubject) -> tuple[str, ...]:
    """Network, S and Q."""
    return format_networks(tested), *(
        " + ".join(map(side, tested.nets)) or "-" for side in (format_train_scales, format_test_scales)
    )


def method_cells(tested: RowSubject) -> tuple[str, ...]:
    """Network and evaluation method."""
    return format_networks(tested), tested.method


def member_cells(tested: RowSubject) -> tuple[str, ...]:
    """ "(D/256/224,256,288), (E/384/352,384,416), dense eval." """
    nets = [f"({letter(net)}/{format_train_scales(net)}/{format_test_scales(net)})" for net in tested.nets] or [
        tested.name
    ]
    return (", ".join([*nets, FUSION_METHODS.get(tested.protocol, tested.method)]),)


def name_cells(tested: RowSubject) -> tuple[str, ...]:
    """The user's name, or the networks, and the method."""
    return (f"{tested.name or format_networks(tested)} ({tested.method})",)
