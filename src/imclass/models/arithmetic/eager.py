"""The default engine, in which PyTorch runs a network's layers one by one."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from imclass.core.runtime import DEFAULT_ARITHMETIC, Arithmetic
from imclass.models.arithmetic.precision import set_memory_format
from imclass.models.network import Network


@dataclass(frozen=True, eq=False)
class EagerEngine:
    """An `Engine` that runs `network` on the network's device.

    Views are converted to the memory order of `arithmetic`.
    """

    network: Network
    arithmetic: Arithmetic = DEFAULT_ARITHMETIC

    def scores(self, views: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Return the scores of views of the native size, in float32 on the CPU."""
        return self.run(self.network, views)

    def dense(self, views: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Return the scores at every position of larger views, in float32 on the CPU."""
        return self.run(self.network.dense, views)

    def for_network(self, network: Network) -> "EagerEngine":
        """Return an engine for another network, with the same arithmetic."""
        return eager_engine(network, self.arithmetic)

    def run(self, method: Callable[[Tensor], Tensor], views: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K ..."]:
        """Call a method of the network without gradients. The network is left in evaluation mode."""
        network = self.network.eval()
        with torch.inference_mode():
            placed = views.to(network.mean.device).contiguous(memory_format=self.arithmetic.memory_format)
            return method(placed).float().cpu()


def eager_engine(network: Network, arithmetic: Arithmetic) -> EagerEngine:
    """Convert the network to the memory order of `arithmetic`, and return an engine with this arithmetic.

    In bf16, the engine runs a copy of the network. Only the weights of convolutions and linear layers are rounded in
    the copy, since these weights account for most of the memory traffic. The network itself keeps its float32 weights,
    and these are the ones that are saved.
    """
    set_memory_format(network, arithmetic)
    if arithmetic.precision != "bf16":
        return EagerEngine(network, arithmetic)
    rounded = copy.deepcopy(network)
    for layer in rounded.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.bfloat16()
    return EagerEngine(rounded, arithmetic)
