"""The size of the maps that layers produce, and the smallest image that they accept, found without computing values."""

import contextlib
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def map_side(features: nn.Module, size: int, w_in: int, least: int = 1) -> int:
    """Return the side length of the maps that `features` produces from an image of size x size pixels.

    If the side would be shorter than `least`, raise a `ValueError` that states the smallest size that works. Only
    shapes are computed.
    """
    side = side_or_none(features, size, w_in)
    if side is None or side < least:
        raise ValueError(f"size is {size}, but the smallest that works is {smallest_size(features, size, w_in, least)}")
    return side


def smallest_size(features: nn.Module, size: int, w_in: int, side: int = 1) -> int:
    """Find by bisection the smallest image size, in pixels, for which the side of the maps is at least `side`."""
    low, high = 0, max(size, 1)
    while (side_or_none(features, high, w_in) or 0) < side:
        low, high = high, 2 * high
        if high > 1 << 14:
            raise ValueError("no size works, because the layers do not fit together")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (side_or_none(features, middle, w_in) or 0) >= side else (middle, high)
    return high


def side_or_none(features: nn.Module, size: int, w_in: int) -> int | None:
    """Return the side length of the maps, or None if the input of some layer is too small for that layer."""
    training = features.training
    try:
        features.eval()
        with BatchNormBypass():
            maps = empty_batch_outputs(features, (w_in, size, size))
            if maps is None:
                state = {name: tensor.to("meta") for name, tensor in features.state_dict(keep_vars=True).items()}
                images = torch.empty(1, w_in, size, size, device="meta")
                maps = torch.func.functional_call(features, state, (images,))
        return int(maps.shape[-1]) or None
    except RuntimeError:
        return None
    finally:
        features.train(training)


def empty_batch_outputs(module: nn.Module, shape: tuple[int, int, int]) -> Any:
    """Return the outputs of a module for an empty batch of images of this shape, or None if the module fails.

    Shapes could also be found on the "meta" device alone, but its kernels for additions, linear layers and many other
    operations import `torch._dynamo`, which takes more than a second. An empty batch needs no such kernels and takes
    almost no time. The module may fail because its layers do not fit together, or because it cannot process an empty
    batch, as with `view(n, -1)`. The caller then repeats the computation with one image, whose errors are readable.
    """
    # One value in memory stands for all elements of a tensor. The device is named because another device may be the
    # default.
    state = {
        name: torch.zeros((), dtype=tensor.dtype, device="cpu").expand(tensor.shape)
        for name, tensor in module.state_dict().items()
    }
    with torch.no_grad(), contextlib.suppress(Exception):
        return torch.func.functional_call(module, state, (torch.empty(0, *shape, device="cpu"),))
    return None


class BatchNormBypass(TorchFunctionMode):
    """A mode that skips batch norms. They do not change shapes, and are the slowest layers on the "meta" device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not functional.batch_norm:
            return func(*args, **(kwargs or {}))
        maps, mean = args[:2]
        if mean is not None and len(mean) != maps.shape[1]:
            raise ValueError(f"a batch norm for {len(mean)} maps receives {maps.shape[1]}")
        return maps
