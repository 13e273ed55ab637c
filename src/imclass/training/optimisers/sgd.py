"""Stochastic gradient descent with momentum."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from imclass.core.bounds import AtLeast, Below
from imclass.core.config import Optimiser


@dataclass(frozen=True)
class SGD(Optimiser):
    """PyTorch's SGD. Weight decay is added to the gradient, and applies to biases as well."""

    kind: ClassVar[str] = "sgd"
    momentum: Annotated[float, AtLeast(0), Below(1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, AtLeast(0)] = 0.0

    def build(self, groups: list[dict[str, Any]]) -> Any:
        """Return PyTorch's fused optimiser, which reads each tensor once per step."""
        import torch

        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(
            groups, lr=0.0, momentum=self.momentum, nesterov=nesterov, weight_decay=self.weight_decay, fused=True
        )


OPTIMISERS = {"sgd": SGD}
