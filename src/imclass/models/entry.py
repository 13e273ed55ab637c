"""Entries of `NETS`: how a network is built, what its paper reports, what other libraries call it."""
# Tested in tests/models/nets/test_contract.py

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """Errors in % that a paper reports, and how they were measured; None where it does not say."""

    top1: float | None = None
    top5: float | None = None
    protocol: str = ""  # such as "1 crop", "10 crops", "dense, Q = 256"; test images of ILSVRC 2012 validation or CIFAR


@dataclass(frozen=True)
class Foreign:
    """What another library calls this network (`name`) and each of its tensors (`rename`: our name to theirs).

    `row` holds the fields of the row that differ where its weights are to be used.
    """

    name: str
    rename: Callable[[str], str]
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """An entry of `NETS`. `build(row, classes, w_in)` makes the network; everything that varies is in the row."""

    build: Callable[[Any, int, int], Any]
    row: Any
    size: int  # native height and width, pixels
    parameters: int  # at the paper's number of classes and channels, side outputs not counted
    paper: str
    year: int
    classes: int = 1000
    w_in: int = 3
    published: Published | None = None
    foreign: Mapping[str, Foreign] = field(default_factory=dict)  # by library: torchvision, timm, caffe ...
