"""Kingma and Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.config import Optimiser


@dataclass(frozen=True)
class Adam(Optimiser):
    """PyTorch's Adam. Weight decay is added to the gradient, and applies to biases as well."""

    kind: ClassVar[str] = "adam"
    betas: Annotated[tuple[float, float], AtLeast(0), Below(1)] = (0.9, 0.999)
    eps: Annotated[float, Above(0)] = 1e-8
    weight_decay: Annotated[float, AtLeast(0)] = 0.0

    def build(self, groups: list[dict[str, Any]]) -> Any:
        """Return PyTorch's fused optimiser, which reads each tensor once per step."""
        import torch

        return torch.optim.Adam(groups, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True)


OPTIMISERS = {"adam": Adam}
