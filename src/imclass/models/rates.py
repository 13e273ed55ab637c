"""Per-layer learning rates, specified as factors for patterns of layer names. A factor of 0 freezes a layer."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from imclass.core.errors import UserError
from imclass.core.text import suggestion


@dataclass(frozen=True)
class LayerRates:
    """A network, a factor for the learning rate of each of its parameters, and its frozen layers."""

    network: nn.Module
    factors: Mapping[str, float]  # keyed by parameter name, for every parameter
    frozen: tuple[nn.Module, ...]  # only layers that contain no other layers

    def require_gradients(self) -> None:
        """Enable gradients for the parameters with a factor above 0, and disable them for all others."""
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(self.factors[name] > 0)

    def train(self) -> None:
        """Put the network in training mode, except for its frozen layers.

        A frozen batch norm uses its stored statistics, and frozen dropout is off. The call costs almost nothing if the
        layers are already in these modes.
        """
        if not self.network.training or any(layer.training for layer in self.frozen):
            self.network.train()
            for layer in self.frozen:
                layer.eval()


def layer_rates(network: nn.Module, rates: Mapping[str, float]) -> LayerRates:
    """Return the factor of each parameter, and the frozen layers.

    A layer's factor is that of the last pattern in `rates` that matches the layer or a layer that contains it. If no
    pattern matches, the factor is 1. Raise a `UserError` if a factor is negative or not finite, if a pattern matches no
    layer, or if every layer would be frozen.
    """
    names = [name for name, _ in network.named_modules() if name]
    for pattern, factor in rates.items():
        if not math.isfinite(factor) or factor < 0:
            raise UserError(f"--rates.{pattern} is {factor}; it must be a number of at least 0 (0 freezes the layer)")
        if not any(fnmatchcase(name, pattern) for name in names):
            known = f"; its layers are {', '.join(top_level_names(names))} and the layers inside them"
            raise UserError(f"--rates.{pattern} matches no layer of the network{suggestion(pattern, names) or known}")
    factors = {name: factor_of(name.rpartition(".")[0], rates) for name, _ in network.named_parameters()}
    if not any(factors.values()):
        raise UserError(
            "--rates freezes every layer, so nothing would be trained. Give at least one layer a factor above 0, "
            "such as 1"
        )
    leaves = [(name, layer) for name, layer in network.named_modules() if not any(True for _ in layer.children())]
    return LayerRates(network, factors, tuple(layer for name, layer in leaves if factor_of(name, rates) == 0))


def factor_of(layer: str, rates: Mapping[str, float]) -> float:
    """Return the learning-rate factor of the layer with this dotted name."""
    found = 1.0
    for pattern, factor in rates.items():
        if any(fnmatchcase(name, pattern) for name in name_and_parents(layer)):
            found = factor
    return found


def name_and_parents(layer: str) -> Iterator[str]:
    """Yield the dotted name of a layer and the names of the layers that contain it."""
    while layer:
        yield layer
        layer = layer.rpartition(".")[0]


def top_level_names(names: list[str]) -> list[str]:
    """Return the names that contain no dot."""
    return [name for name in names if "." not in name]
