"""A PyTorch optimiser's rate and state; the state is kept by parameter name, so that a checkpoint can be read."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imclass.core.config import Optimiser
from imclass.core.errors import UserError

PREFIX = "optimiser."


def build(network: nn.Module, kind: Optimiser) -> Optimizer:
    """Return an optimiser of all parameters; its rate is set before each step."""
    optimiser: Optimizer = kind.build([{"params": list(network.parameters())}])
    return optimiser


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """The learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def parameters(optimiser: Optimizer) -> list[Tensor]:
    """What it changes."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def live(optimiser: Optimizer) -> list[Tensor]:
    """What it changes and what it remembers."""
    kept = [value for state in optimiser.state.values() for value in state.values() if isinstance(value, Tensor)]
    return [*parameters(optimiser), *kept]


def state(network: nn.Module, optimiser: Optimizer) -> dict[str, Tensor]:
    """Return momenta and counts as tensors named "optimiser.PARAMETER.KEY"; what is not yet there is left out."""
    kept = {}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                kept[f"{PREFIX}{name}.{key}"] = value
            elif value is not None:
                found = f"{type(optimiser).__name__} keeps {key!r} as {type(value).__name__}"
                raise UserError(f"{found}, which no checkpoint can hold; let its state be tensors")
    return kept


def restore(network: nn.Module, optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `state`: all of it goes to its parameter's device, and what has its shape takes its memory order.

    Fused steps read a parameter and its state as they lie, the count of steps included.
    """
    parameters = dict(network.named_parameters())
    optimiser.state.clear()
    for name, value in tensors.items():
        if name.startswith(PREFIX):
            parameter, key = name.removeprefix(PREFIX).rsplit(".", 1)
            owner = parameters[parameter]
            like = torch.empty_like(owner if value.shape == owner.shape else value, device=owner.device)
            optimiser.state[owner][key] = like.copy_(value)
