"""Images per second of a network before and after its batch norms are folded into the layers before them.

    python benchmarks/folding.py [--rounds 25] [--batch 64] [--network vgg-bn-drop]

Both sides classify the same images as `imclass evaluate` does, in float32 and channels last, alternately in one
process. The claim is the ratio.
"""

import argparse
import platform
import statistics
import time

import torch
from torch import Tensor

from imclass.app.load import CHANNELS_LAST
from imclass.models.analysis.surgery import batch_norms, fold_batch_norms
from imclass.models.arithmetic.precision import set_memory_format
from imclass.models.classifier import create
from imclass.models.network import Network


def rate(network: Network, images: Tensor) -> float:
    """Return the images per second of one call."""
    began = time.perf_counter()
    network(images)
    return len(images) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--network", default="vgg-bn-drop")
    given = parser.parse_args()
    original = create(given.network, [f"class {k}" for k in range(10)]).network.eval()
    sides = {"as trained": original, "folded": fold_batch_norms(original)}
    for network in sides.values():
        set_memory_format(network, CHANNELS_LAST)
    images = torch.rand(given.batch, original.w_in, original.size, original.size)
    images = images.contiguous(memory_format=CHANNELS_LAST.memory_format)
    found: dict[str, list[float]] = {side: [] for side in sides}
    with torch.inference_mode():
        scores = [network(images) for network in sides.values()]
        for network in 2 * list(sides.values()):  # the first calls prepare kernels
            network(images)
        for _ in range(given.rounds):
            for side, network in sides.items():
                found[side].append(rate(network, images))
    ratios = [b / a for a, b in zip(*found.values(), strict=True)]
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{given.network}, batch {given.batch}, images/s; scores differ by {(scores[0] - scores[1]).abs().max():.1e}")
    for side, rates in found.items():
        norms = len(batch_norms(sides[side]))
        print(f"  {side:<10} {norms:3d} batch norms  median {statistics.median(rates):8.2f}")
    print(f"  ratio      median {statistics.median(ratios):.3f}   {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
