"""Weights as other libraries and training scripts store them."""

import torch
from torch import Tensor

from imclass.models.classifier import NetworkClassifier, create, networks
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.matching import meta_tensors
from tests.support import filled

ENTRIES: dict[str, NetworkEntry] = networks().entries
TEN = tuple(f"class {k}" for k in range(10))


def lenet(classes: int = 10, seed: int = 3) -> NetworkClassifier:
    return create("lenet-5", [f"class {k}" for k in range(classes)], seed=seed)


def weights_of(found: NetworkClassifier) -> dict[str, Tensor]:
    """Return the state dict without the normalisation, which other libraries do not have."""
    return {k: v.clone() for k, v in found.network.state_dict().items() if k not in ("mean", "std")}


def akamaster_state(name: str = "resnet-cifar-20") -> dict[str, Tensor]:
    """Return reproducible values under akamaster's names, without counters, like its files."""
    entry = ENTRIES[name]
    names = meta_tensors(entry, entry.row, 10, 3)
    state = {entry.foreign["akamaster"].rename(n): tuple(t.shape) for n, t in names.items() if "num_batches" not in n}
    return {n: torch.from_numpy(v) for n, v in filled.fill_tensors(state).items()}
