"""Entries of `NETS`: each network's constructor, the result from its paper, and its names in other libraries."""
# Tested in tests/models/nets/test_contract.py

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imclass.core.errors import UserError


@dataclass(frozen=True)
class PaperResult:
    """The errors in % that a paper reports, and the protocol with which they were measured.

    The images are the validation images of ILSVRC 2012 or the test images of CIFAR. An error is None if the paper does
    not report it.
    """

    top1: float | None = None
    top5: float | None = None
    protocol: str = ""  # such as "1 crop", "10 crops" or "dense, Q = 256"


@dataclass(frozen=True)
class ForeignNetwork:
    """The counterpart of a network in another library. `rename` maps our tensor names to the library's.

    Fields in `row` replace those of the entry's row, so that the library's weights fit. `inputs` is the key in `INPUTS`
    of the images that the weights expect, if it is not the default for the library.
    """

    name: str
    rename: Callable[[str], str]
    row: Mapping[str, Any] = field(default_factory=dict)
    inputs: str = ""


def foreign_name_hint(name: str, entries: Mapping[str, "NetworkEntry"]) -> str:
    """Return a message if `name`, such as vgg16, is another library's name for one of our networks.

    Case, dashes and underscores are ignored. Return "" for any other name, and also for the name of one of our own
    networks.
    """
    wanted = plain_name(name)
    if any(plain_name(ours) == wanted for ours in entries):
        return ""
    for ours, entry in entries.items():
        for library, foreign in getattr(entry, "foreign", {}).items():  # a plugin's entry may be any object
            if plain_name(foreign.name) == wanted:
                return f"no network is named {name!r}; {library}'s {foreign.name} is named {ours!r} here"
    return ""


def plain_name(name: str) -> str:
    """Return a network's name in lower case without dashes and underscores."""
    return name.lower().replace("-", "").replace("_", "")


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """An entry of `NETS`. `build(row, classes, w_in)` returns the network.

    `row` is a dataclass of the network's settings. Its field `size` is the native height and width in pixels.
    """

    build: Callable[[Any, int, int], Any]
    row: Any
    parameters: int  # with the paper's number of classes and channels, not counting auxiliary heads
    paper: str
    year: int
    classes: int = 1000
    w_in: int = 3
    result: PaperResult | None = None
    # Keyed by library, such as torchvision, timm or caffe.
    foreign: Mapping[str, ForeignNetwork] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)  # row fields of a copy small enough for tests


def native_size(row: Any, network: str) -> int:
    """Return a row's `size`, the native height and width in pixels. Raise a `UserError` if it is not an integer."""
    size = getattr(row, "size", None)
    if not isinstance(size, int):
        raise UserError(
            f"the row of {network} has no native height and width. Add the size, in pixels, as a field of "
            "the row's class, for example `size: int = 224`"
        )
    return size


def caffe_name(name: str) -> str:
    """Return a tensor's name in Caffe if our layers have Caffe's names: "fc6.weight" for "head.fc6.weight"."""
    return name.split(".", 1)[1]


def rename_layer(name: str, layers: Mapping[str, str]) -> str:
    """Return a tensor's name in another library. `layers` maps our layer names to the library's."""
    layer, leaf = name.rsplit(".", 1)
    return f"{layers[layer]}.{leaf}"
