"""The learning rate and state of a PyTorch optimiser. In checkpoints, the state is keyed by parameter name."""

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imclass.core.config import Optimiser
from imclass.core.errors import UserError

OPTIMISER_PREFIX = "optimiser."
FACTOR_KEY = "factor"  # the key of a parameter group's learning-rate factor
NO_FACTORS: Mapping[str, float] = MappingProxyType({})


def build_optimiser(network: nn.Module, kind: Optimiser | None, factors: Mapping[str, float] = NO_FACTORS) -> Optimizer:
    """Return an optimiser with a parameter group for each learning-rate factor above 0.

    `factors` maps parameter names to factors. Parameters that it does not name have factor 1. Parameters with factor 0
    are left out of the optimiser. The learning rate is set before each step. In a stage with a solver, `kind` is None
    and the optimiser never takes a step.
    """
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault(factors.get(name, 1.0), []).append(parameter)
    chosen = [{"params": group, FACTOR_KEY: factor} for factor, group in sorted(groups.items()) if factor > 0]
    optimiser: Optimizer = IdleOptimiser(chosen) if kind is None else kind.build(chosen)
    return optimiser


class IdleOptimiser(Optimizer):
    """The optimiser of a stage with a solver. It holds the parameters, and never takes a step."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        # The base class's constructor would import torch._dynamo, which takes a second.
        self.param_groups, self.state = groups, defaultdict(dict)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the learning rate for the next step: `rate` multiplied by the factor of each parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get(FACTOR_KEY, 1.0)


def optimised_parameters(optimiser: Optimizer) -> list[Tensor]:
    """Return the parameters that an optimiser changes."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def live_tensors(optimiser: Optimizer) -> list[Tensor]:
    """Return the parameters that an optimiser changes, and the tensors of its state."""
    states = [value for state in optimiser.state.values() for value in state.values() if isinstance(value, Tensor)]
    return [*optimised_parameters(optimiser), *states]


def state_tensors(network: nn.Module, optimiser: Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's momenta, step counts and other state as tensors named "optimiser.PARAMETER.KEY".

    Most of the state exists only after the first step. Raise `UserError` if some of the state is not a tensor, because
    a checkpoint cannot store it.
    """
    tensors = {}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{OPTIMISER_PREFIX}{name}.{key}"] = value
            elif value is not None:
                problem = f"{type(optimiser).__name__} keeps {key!r} as {type(value).__name__}"
                raise UserError(f"{problem}, which a checkpoint cannot store; keep the optimiser's state in tensors")
    return tensors


def restore_state(network: nn.Module, optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore an optimiser's state from tensors returned by `state_tensors`.

    Each tensor, even a step count, is moved to its parameter's device. A tensor with the parameter's shape also gets
    the parameter's memory layout, because fused steps read a parameter and its state in parallel.
    """
    parameters = dict(network.named_parameters())
    optimiser.state.clear()
    for name, value in tensors.items():
        if name.startswith(OPTIMISER_PREFIX):
            parameter, key = name.removeprefix(OPTIMISER_PREFIX).rsplit(".", 1)
            owner = parameters[parameter]
            like = torch.empty_like(owner if value.shape == owner.shape else value, device=owner.device)
            optimiser.state[owner][key] = like.copy_(value)
