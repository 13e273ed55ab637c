"""The trajectory of a weight under an optimiser, for comparison with a plain loop over its update rule."""

import numpy as np
import torch
from torch import nn

from imclass.core.config import Optimiser
from imclass.training import optimiser_state


def trajectory(config: Optimiser, steps: int) -> np.ndarray:
    """Return the values of a weight after each step with the gradients 1/1, 1/2, 1/3 ... and rate 0.1."""
    network = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(network.weight, 2.0)
    optimiser = optimiser_state.build_optimiser(network, config)
    found = []
    for t in range(1, steps + 1):
        network.weight.grad = torch.full_like(network.weight, 1 / t)
        optimiser_state.set_rate(optimiser, 0.1)
        optimiser.step()
        found.append(network.weight.item())
    return np.array(found)
