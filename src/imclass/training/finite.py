"""Detection of values that are not finite."""
# Tested in tests/training/test_objective.py

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether the tensors are free of NaN and infinity."""
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    # One norm over all tensors is fast, but may overflow for finite values. If it is not finite, check each tensor.
    if not floating or torch.isfinite(nn.utils.get_total_norm(floating)):
        return True
    return all(bool(torch.isfinite(tensor).all()) for tensor in floating)


def first_nonfinite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor that contains a NaN or an infinity, or None if there is none."""
    return next((name for name, tensor in named if not are_finite([tensor])), None)


def gradients_of(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return a network's gradients, each named "gradient of PARAMETER"."""
    return [(f"gradient of {name}", p.grad) for name, p in network.named_parameters() if p.grad is not None]
