"""What in a step is not finite."""
# Tested in tests/training/test_objective.py

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no number in these is a NaN or an infinity.

    One norm of all is taken, and each tensor is looked at by itself where that overflows.
    """
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not floating or torch.isfinite(nn.utils.get_total_norm(floating)):
        return True
    return all(bool(torch.isfinite(tensor).all()) for tensor in floating)


def first_nonfinite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor that holds a NaN or an infinity."""
    return next((name for name, tensor in named if not are_finite([tensor])), None)


def gradients_of(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the gradients there are, named "gradient of PARAMETER"."""
    return [(f"gradient of {name}", p.grad) for name, p in network.named_parameters() if p.grad is not None]
