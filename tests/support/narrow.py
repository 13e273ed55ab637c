"""Copies of networks that are narrow, shallow and small, so that tests of all of them are quick."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from imclass.models.entry import Entry
from imclass.models.network import Network

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

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


def trained(network: Network, seed: int = 0) -> Network:
    """As if after some training, in evaluation mode: no batch norm is the identity, no residual branch is silent."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, NORMS):
            for tensor in (layer.weight.data, layer.running_var):
                assert tensor is not None
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (layer.bias.data, layer.running_mean):
                assert tensor is not None
                tensor.normal_(0, 0.1, generator=generator)
    network.normalise((0.5,), (0.25,))
    return network.eval()
