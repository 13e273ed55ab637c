"""Time and memory of dense VGG-D on a large image, against the time predicted by multiply-adds from the native size.

    python benchmarks/dense.py [--rounds 5] [--side 512]

Both sides run the whole network on one image in float32, channels last, alternately in one process: `forward` on
224 x 224 pixels and `dense` on SIDE x SIDE. The claims: the ratio of measured to predicted time is at most 1.15, and
the process always holds less than 3 GB, including weights and PyTorch.
"""

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from imclass.models.analysis.geometry import Layer, measure
from imclass.models.classifier import create
from imclass.models.network import Network


def predict_ratio(network: Network, side: int) -> float:
    """Return the multiply-adds of `dense` on side x side pixels, over those of `forward` at the native size."""
    layers = [layer for layer in measure(network).layers if layer.macs]
    cells = (side // 32 - 6) ** 2
    dense = sum(layer.macs * (map_growth(layer, network.size, side) if layer.kernel else cells) for layer in layers)
    return dense / sum(layer.macs for layer in layers)


def map_growth(layer: Layer, native: int, side: int) -> float:
    """Return the ratio of positions of a VGG's map at two sizes.

    The network halves maps five times, so both sizes must be multiples of 32.
    """
    positions = prod(layer.output[1:])
    return prod(extent * side // native for extent in layer.output[1:]) / positions


def seconds(run: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Return the duration of one call."""
    began = time.perf_counter()
    run(images)
    return time.perf_counter() - began


def peak() -> float:
    """Return the peak memory of this process in GB."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=512)
    given = parser.parse_args()
    network = create("vgg-d", [f"class {k}" for k in range(1000)]).network.eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sides: list[tuple[Callable[[Tensor], Tensor], int]] = [(network, network.size), (network.dense, given.side)]
    views = [torch.rand(1, 3, n, n).to(memory_format=torch.channels_last) for _, n in sides]
    times: list[list[float]] = [[], []]
    with torch.inference_mode():
        for turn in range(given.rounds + 1):
            for (run, _), images, found in zip(sides, views, times, strict=True):
                taken = seconds(run, images)
                if turn > 0:  # the first turn is a warm-up
                    found.append(taken)
    native, dense = (statistics.median(found) for found in times)
    ratio = predict_ratio(network, given.side)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"vgg-d, {network.size} x {network.size}: median {1e3 * native:.0f} ms")
    print(
        f"vgg-d, dense on {given.side} x {given.side}: median {1e3 * dense:.0f} ms, {dense / native:.2f} times as long"
    )
    print(
        f"  multiply-adds: {ratio:.2f} times as many; time / prediction: {dense / native / ratio:.3f} (claim: <= 1.15)"
    )
    print(f"  peak memory: {peak():.2f} GB (claim: < 3 GB)")


if __name__ == "__main__":
    main()
