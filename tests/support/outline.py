"""Networks of full size that need no memory for weights, and the shapes of their maps."""

import torch

from imclass.models.entry import NetworkEntry
from imclass.models.network import Network


def outline(entry: NetworkEntry) -> Network:
    """Return the network as published, on the "meta" device, in evaluation mode."""
    with torch.device("meta"):
        network = entry.build(entry.row, entry.classes, entry.w_in)
    assert isinstance(network, Network)
    return network.eval()


def shapes(network: Network) -> dict[str, tuple[int, int]]:
    """Return channels and side of the maps after each child of `features`, at the native size."""
    maps, found = torch.empty(1, network.w_in, network.size, network.size, device="meta"), {}
    for name, layer in network.features.named_children():
        maps = layer(maps)
        assert maps.shape[2] == maps.shape[3]
        found[name] = (int(maps.shape[1]), int(maps.shape[2]))
    return found


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
