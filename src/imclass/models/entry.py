"""Entries of `NETS`: how a network is built, what its paper reports, what other libraries call it."""
# Tested in tests/models/nets/test_contract.py

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imclass.core.errors import UserError


@dataclass(frozen=True)
class PaperResult:
    """Errors in % that a paper reports, and how they were measured; None where it does not say."""

    top1: float | None = None
    top5: float | None = None
    protocol: str = ""  # such as "1 crop", "10 crops", "dense, Q = 256"; test images of ILSVRC 2012 validation or CIFAR


@dataclass(frozen=True)
class ForeignNetwork:
    """What another library calls this network (`name`) and each of its tensors (`rename`: our name to theirs).

    `row` holds the fields of the row that differ where its weights are to be used.
    """

    name: str
    rename: Callable[[str], str]
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """An entry of `NETS`. `build(row, classes, w_in)` makes the network; everything that varies is in the row.

    The row is a dataclass. Its field `size` is the native height and width in pixels.
    """

    build: Callable[[Any, int, int], Any]
    row: Any
    parameters: int  # at the paper's number of classes and channels, side outputs not counted
    paper: str
    year: int
    classes: int = 1000
    w_in: int = 3
    result: PaperResult | None = None
    foreign: Mapping[str, ForeignNetwork] = field(default_factory=dict)  # by library: torchvision, timm, caffe ...
    small: Mapping[str, Any] = field(default_factory=dict)  # row fields of a copy small enough for tests


def native_size(row: Any, network: str) -> int:
    """Return the native height and width in pixels; a row that does not have them is a `UserError`."""
    size = getattr(row, "size", None)
    if not isinstance(size, int):
        raise UserError(
            f"the row of {network} has no native height and width. Give its class a field for them, in pixels, such as "
            "`size: int = 224`"
        )
    return size


def rename_layer(name: str, layers: Mapping[str, str]) -> str:
    """Return the name of a tensor whose layer another library calls `layers[layer]`."""
    layer, leaf = name.rsplit(".", 1)
    return f"{layers[layer]}.{leaf}"
