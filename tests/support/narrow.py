"""Narrow, shallow and small copies of networks, with which tests of all networks are quick."""

from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from imclass.models.entry import NetworkEntry
from imclass.models.network import Network

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def narrow(entry: NetworkEntry) -> dict[str, Any]:
    """Return fields of the row: an eighth of all widths, units and growths, one block a stage, and `entry.small`."""
    row = asdict(entry.row)
    changes: dict[str, Any] = {name: eighth(row[name]) for name in ("widths", "hidden", "growth") if name in row}
    if "blocks" in row:
        changes["blocks"] = tuple(1 for _ in row["blocks"])
    if "width" in row:
        changes["width"] = 0.125
    return changes | dict(entry.small)


def eighth(width: Any) -> Any:
    """Return an eighth of a number or of all numbers in nested tuples, at least 4."""
    return tuple(eighth(w) for w in width) if isinstance(width, tuple | list) else max(4, width // 8)


def imitate_training(network: Network, seed: int = 0) -> Network:
    """Make a network seem trained, in evaluation mode: no batch norm is the identity, and no residual branch is 0."""
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
