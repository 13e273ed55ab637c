"""Gradient of the weights of a 3 x 3 convolution in bf16: PyTorch's kernel against a matrix product, by size of maps.

    python benchmarks/small_maps.py [--rounds 9] [--batch 128]

Both run alternately in one process, on channels-last maps. The claim is the ratio: it should be well above 1 on maps of
at most MAX_POSITIONS positions (`models/arithmetic/rounding.py`), for which imclass uses the product. Larger maps gain
little or nothing.
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


def pytorch(maps: Tensor, weight: Tensor) -> Tensor:
    """Convolve by PyTorch."""
    return functional.conv2d(maps, weight, None, (1, 1), (1, 1))


def product(maps: Tensor, weight: Tensor) -> Tensor:
    """Convolve by PyTorch, with the gradient of the weights by a matrix product."""
    scores: Tensor = SmallMaps.apply(maps, weight, None, (1, 1), (1, 1))
    return scores


def duration(convolve: Callable[[Tensor, Tensor], Tensor], maps: Tensor, weight: Tensor, repeats: int) -> float:
    """Return the milliseconds of one gradient of the weights."""
    scores = convolve(maps, weight)
    gradient = torch.ones_like(scores)
    began = time.perf_counter()
    for _ in range(repeats):
        torch.autograd.grad(scores, weight, gradient, retain_graph=True)
    return 1e3 * (time.perf_counter() - began) / repeats


def main() -> None:
    """Measure all shapes and print a line for each."""
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
        found: dict[Callable[[Tensor, Tensor], Tensor], list[float]] = {pytorch: [], product: []}
        for convolve in found:
            duration(convolve, maps, weight, 1)
        for _ in range(given.rounds):
            for convolve, times in found.items():
                times.append(duration(convolve, maps, weight, 5))
        ratios = [a / b for a, b in zip(found[pytorch], found[product], strict=True)]
        durations = "   ".join(
            f"{convolve.__name__} {statistics.median(times):6.2f} ms ({min(times):.2f} to {max(times):.2f})"
            for convolve, times in found.items()
        )
        ratio = f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        used = "   used" if side**2 <= MAX_POSITIONS else ""
        print(f"{channels:4} channels, {side:2} x {side:<2}  {durations}   {ratio}{used}", flush=True)


if __name__ == "__main__":
    main()
