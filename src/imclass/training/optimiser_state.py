"""A PyTorch optimiser's rate and state; the state is kept by parameter name, so that a checkpoint can be read."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imclass.core.config import Optimiser
from imclass.core.errors import UserError

OPTIMISER_PREFIX = "optimiser."
FACTOR_KEY = "factor"  # the key of a group's factor
NO_FACTORS: Mapping[str, float] = MappingProxyType({})


def build_optimiser(network: nn.Module, kind: Optimiser, factors: Mapping[str, float] = NO_FACTORS) -> Optimizer:
    """Return an optimiser with a group of parameters for each factor above 0; its rate is set before each step.

    `factors` are by parameter name, 1 by default. A parameter with the factor 0 is in no group.
    """
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault(factors.get(name, 1.0), []).append(parameter)
    chosen = [{"params": group, FACTOR_KEY: factor} for factor, group in sorted(groups.items()) if factor > 0]
    optimiser: Optimizer = kind.build(chosen)
    return optimiser


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, times each group's factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get(FACTOR_KEY, 1.0)


def optimised_parameters(optimiser: Optimizer) -> list[Tensor]:
    """Return the tensors that it changes."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def live_tensors(optimiser: Optimizer) -> list[Tensor]:
    """Return the tensors that it changes, and those of its state."""
    kept = [value for state in optimiser.state.values() for value in state.values() if isinstance(value, Tensor)]
    return [*optimised_parameters(optimiser), *kept]


def state_tensors(network: nn.Module, optimiser: Optimizer) -> dict[str, Tensor]:
    """Return momenta and counts as tensors named "optimiser.PARAMETER.KEY"; what is not yet there is left out."""
    kept = {}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                kept[f"{OPTIMISER_PREFIX}{name}.{key}"] = value
            elif value is not None:
                found = f"{type(optimiser).__name__} keeps {key!r} as {type(value).__name__}"
                raise UserError(f"{found}, which no checkpoint can hold; let its state be tensors")
    return kept


def restore_state(network: nn.Module, optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `state`: all of it goes to its parameter's device, and what has its shape takes its memory order.

    Fused steps read a parameter and its state as they lie, the count of steps included.
    """
    parameters = dict(network.named_parameters())
    optimiser.state.clear()
    for name, value in tensors.items():
        if name.startswith(OPTIMISER_PREFIX):
            parameter, key = name.removeprefix(OPTIMISER_PREFIX).rsplit(".", 1)
            owner = parameters[parameter]
            like = torch.empty_like(owner if value.shape == owner.shape else value, device=owner.device)
            optimiser.state[owner][key] = like.copy_(value)
