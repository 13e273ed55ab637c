"""The side of the maps that layers make of an image, and the smallest image that works; nothing is computed."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def map_side(features: nn.Module, size: int, w_in: int) -> int:
    """Height and width of the maps that `features` makes of size x size pixels.

    Where nothing is left of them it is a ValueError that names the smallest size that works. Nothing is computed.
    """
    side = side_or_none(features, size, w_in)
    if side is None:
        raise ValueError(f"size is {size}, and the smallest that works is {smallest_size(features, size, w_in)}")
    return side


def smallest_size(features: nn.Module, size: int, w_in: int, side: int = 1) -> int:
    """The smallest image, in pixels a side, of which maps of at least `side` are left; by bisection."""
    low, high = 0, max(size, 1)
    while (side_or_none(features, high, w_in) or 0) < side:
        low, high = high, 2 * high
        if high > 1 << 14:
            raise ValueError("no size works: the layers do not fit together")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (side_or_none(features, middle, w_in) or 0) >= side else (middle, high)
    return high


def side_or_none(features: nn.Module, size: int, w_in: int) -> int | None:
    """The side of the maps, or None where a layer finds too little to work on."""
    was, state = features.training, {k: v.to("meta") for k, v in features.state_dict(keep_vars=True).items()}
    try:
        features.eval()
        with BatchNormBypass():
            maps = torch.func.functional_call(features, state, (torch.empty(1, w_in, size, size, device="meta"),))
        return int(maps.shape[-1]) or None
    except RuntimeError:
        return None
    finally:
        features.train(was)


class BatchNormBypass(TorchFunctionMode):
    """Batch norms are passed over. They change no shape, and on the "meta" device PyTorch takes longest over them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not functional.batch_norm:
            return func(*args, **(kwargs or {}))
        maps, mean = args[:2]
        if mean is not None and len(mean) != maps.shape[1]:
            raise ValueError(f"a batch norm of {len(mean)} maps gets {maps.shape[1]}")
        return maps
