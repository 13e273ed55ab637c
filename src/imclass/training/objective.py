"""What is minimised, and one step of it: micro-batches with their own randomness, and the guard against NaN."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from imclass.core.randomness import part_seed
from imclass.core.runtime import PLAIN, Arithmetic, reseed
from imclass.models.arithmetic.precision import forward, outputs
from imclass.models.network import Images, Network
from imclass.training import optimiser_state


def cross_entropy(scores: Float[Tensor, "N K"], labels: Int64[Tensor, "N"]) -> Float[Tensor, ""]:
    """The sum over images of the negative log of the labelled class's posterior, in nats."""
    return functional.cross_entropy(scores.float(), labels, reduction="sum")


@dataclass(frozen=True)
class Loss:
    """The mean loss of a step in nats: `main` is of the scores that are evaluated too, `total` is minimised."""

    main: float = 0.0
    total: float = 0.0

    @property
    def auxiliary(self) -> float:
        """What auxiliary heads add, with their weight."""
        return self.total - self.main


def backward(
    network: nn.Module,
    images: Images,
    labels: Int64[Tensor, "N"],
    micro_batches: int,
    seed: int,
    step: int,
    arithmetic: Arithmetic = PLAIN,
) -> tuple[Loss, int]:
    """Compute gradients of the mean loss over all N images; return that loss and how many were classified right.

    The batch is cut into `micro_batches` parts, each with randomness that follows (seed, step, part), so that neither a
    resume nor the number of processes changes a dropout mask. Parts are weighted by their images, never averaged.
    """
    if not network.training:
        network.train()
    network.zero_grad(set_to_none=True)
    main, total, correct = 0.0, 0.0, 0
    parts = zip(images.tensor_split(micro_batches), labels.tensor_split(micro_batches), strict=True)
    for i, (part, wanted) in enumerate(parts):
        if len(part) == 0:
            continue
        reseed(part_seed(seed, step, i), part.device)
        scores, *sides = outputs(forward(network, part, arithmetic))
        share = first = cross_entropy(scores, wanted) / len(images)
        if sides and isinstance(network, Network):
            auxiliary = torch.stack([cross_entropy(side, wanted) for side in sides]).sum()
            share = share + network.side_weight * auxiliary / len(images)
        share.backward()
        total += share.item()
        main += first.item()
        correct += int((scores.argmax(1) == wanted).sum())
    return Loss(main, total), correct


def tensors(network: nn.Module, optimiser: Optimizer) -> dict[str, Tensor]:
    """All that training changes: "model.*" and "optimiser.*"."""
    model = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    return model | optimiser_state.state(network, optimiser)


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number in these is a NaN or an infinity: one norm of all, and each by itself where that overflows."""
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not floating or torch.isfinite(nn.utils.get_total_norm(floating)):
        return True
    return all(bool(torch.isfinite(tensor).all()) for tensor in floating)


def first_nonfinite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinity."""
    return next((name for name, tensor in named if not finite([tensor])), None)


def gradients(network: nn.Module) -> list[tuple[str, Tensor]]:
    """The gradients there are, named "gradient of PARAMETER"."""
    return [(f"gradient of {name}", p.grad) for name, p in network.named_parameters() if p.grad is not None]
