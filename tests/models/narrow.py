"""Copies of networks that are narrow, shallow and small, so that tests of all of them are quick."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from imclass.core.contracts import Entry

# What the rule below does not know, by the name of the network's class.
OWN: Mapping[str, Mapping[str, Any]] = {
    "ResNetCifar": {"depth": 8},
    "GoogLeNet": {"size": 64, "aux": False},
    "InceptionBN": {"size": 64},
    "InceptionV3": {"size": 107, "aux": False},
    "InceptionV4": {"size": 107},
    "InceptionResNet": {"size": 107},
    "ResNet": {"stem": 8, "size": 64},
    "ResNeXt": {"stem": 8, "groups": 4, "size": 32},
    "ResNetPreAct": {"stem": 4, "size": 32},
    "DenseNet": {"size": 32},
    "AlexNet": {"size": 95},
    "ZFNet": {"size": 95, "init_std": 0.1},
    "OverFeat": {"size": 127, "init_std": 0.05},
    "VGG": {"size": 32, "init_std": 0.1},
    "NIN": {"size": 63, "init_std": 0.2, "fine": ()},
}


def narrow(entry: Entry) -> dict[str, Any]:
    """Fields of the row: an eighth of each width, unit and growth, one block a stage, and what `OWN` says."""
    row = asdict(entry.row)
    changes: dict[str, Any] = {name: eighth(row[name]) for name in ("widths", "hidden", "growth") if name in row}
    if "blocks" in row:
        changes["blocks"] = tuple(1 for _ in row["blocks"])
    if "width" in row:
        changes["width"] = 0.125
    return changes | dict(OWN.get(getattr(entry.build, "__name__", ""), {}))


def eighth(width: Any) -> Any:
    """Of a number or of nested tuples, at least 4."""
    return tuple(eighth(w) for w in width) if isinstance(width, tuple | list) else max(4, width // 8)
