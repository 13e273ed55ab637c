"""Running statistics of batch norms in a step with several parts.

Each part is normalised by its own statistics. PyTorch would update the running statistics after each part, in the
order in which a process computes the parts. Here they are updated once per step, with the means over all images of the
step.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def tracked_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms whose running statistics are updated: those in training mode that keep such statistics."""
    found = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    return [layer for layer in found if layer.training and layer.track_running_stats]


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether any layer normalises images by the statistics of their batch."""
    return any(isinstance(layer, _BatchNorm) for layer in network.modules())


@contextlib.contextmanager
def isolate_statistics(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Make each forward pass store its own means and unbiased variances as the running statistics.

    The original running statistics are restored when the context ends.
    """
    momenta = [layer.momentum for layer in layers]
    before = [[buffer.clone() for buffer in layer.buffers()] for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 1.0  # the running statistics become those of the last forward pass
        yield
    finally:
        for layer, momentum, values in zip(layers, momenta, before, strict=True):
            layer.momentum = momentum
            for buffer, value in zip(layer.buffers(), values, strict=True):
                buffer.copy_(value)


def moments(layers: Sequence[_BatchNorm], share: float) -> list[Tensor]:
    """Return the means and variances of the last forward pass, multiplied by `share`.

    `share` is the number of images in the part divided by the number of images in the step.
    """
    return [
        buffer * share for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None
    ]


def move_statistics(layers: Sequence[_BatchNorm], means: Sequence[Tensor]) -> None:
    """Update the running statistics once, as PyTorch does after a forward pass.

    `means` contains the statistics of the whole step: the means over its parts, weighted by image count.
    """
    values = iter(means)
    with torch.no_grad():
        for layer in layers:
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.add_(1)
            momentum = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked or 1)
            for buffer in (layer.running_mean, layer.running_var):
                if buffer is not None:
                    buffer.mul_(1 - momentum).add_(next(values), alpha=momentum)


def set_statistics(layers: Sequence[_BatchNorm], values: Sequence[Tensor]) -> None:
    """Set the running means and variances. `values` contains them in the order in which `moments` returns them."""
    remaining = iter(values)
    with torch.no_grad():
        for layer in layers:
            for buffer in (layer.running_mean, layer.running_var):
                if buffer is not None:
                    buffer.copy_(next(remaining))
