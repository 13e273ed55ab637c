"""The weights' gradient of a 3x3 convolution in bf16: PyTorch's own way against a matrix product, by side of the maps.

    python benchmarks/small_maps.py [--rounds 9] [--batch 128]

Both ways, in turn, in one process, on channels-last maps. The claim is the ratio: on maps of at most FEW positions
(`core/rounding.py`), where the product is taken, it should be well above 1; larger ones have little or nothing to gain.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from imclass.core.runtime import Runtime, apply_runtime
from imclass.models.arithmetic.rounding import MAX_POSITIONS, SmallMaps

SHAPES = ((512, 2), (512, 4), (256, 4), (64, 4), (512, 7), (256, 8), (64, 8), (128, 16), (64, 32))  # channels and side


def own(maps: Tensor, weight: Tensor) -> Tensor:
    """PyTorch's convolution."""
    return functional.conv2d(maps, weight, None, (1, 1), (1, 1))


def product(maps: Tensor, weight: Tensor) -> Tensor:
    """The same, its gradient by a product."""
    scores: Tensor = SmallMaps.apply(maps, weight, None, (1, 1), (1, 1))
    return scores


def duration(way: Callable[[Tensor, Tensor], Tensor], maps: Tensor, weight: Tensor, repeats: int) -> float:
    """Milliseconds of one gradient of the weights."""
    scores = way(maps, weight)
    gradient = torch.ones_like(scores)
    began = time.perf_counter()
    for _ in range(repeats):
        torch.autograd.grad(scores, weight, gradient, retain_graph=True)
    return 1e3 * (time.perf_counter() - began) / repeats


def main() -> None:
    """A line a shape."""
    parser = argparse.ArgumentParser()
    for word, value in (("rounds", 9), ("batch", 128)):
        parser.add_argument(f"--{word}", type=int, default=value)
    given = parser.parse_args()
    apply_runtime(Runtime(threads=torch.get_num_threads()))
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch {given.batch}")
    for channels, side in SHAPES:
        maps = torch.randn(given.batch, channels, side, side).bfloat16().contiguous(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3).bfloat16().contiguous(memory_format=torch.channels_last)
        weight.requires_grad_()
        found: dict[Callable[[Tensor, Tensor], Tensor], list[float]] = {own: [], product: []}
        for way in found:
            duration(way, maps, weight, 1)
        for _ in range(given.rounds):
            for way, times in found.items():
                times.append(duration(way, maps, weight, 5))
        ratios = [a / b for a, b in zip(found[own], found[product], strict=True)]
        told = "   ".join(
            f"{way.__name__} {statistics.median(times):6.2f} ms ({min(times):.2f} to {max(times):.2f})"
            for way, times in found.items()
        )
        ratio = f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(
            f"{channels:4} channels, {side:2} x {side:<2}  {told}   {ratio}{'   taken' * (side**2 <= MAX_POSITIONS)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
