"""Peak memory of an evaluation with 150 crops per image: 10,000 images against 500.

    python benchmarks/memory.py [--few 500] [--many 10000] [--network lenet-5] [--classes 10] [--threads 1]

Each number of images is scored in a separate process, whose peak resident memory is read. The images are noise of many
sizes, generated on demand, so that the evaluation is measured and not a data set. The claims, for a network of under 20
million multiply-adds: the ratio is at most 1.05, and the peak is under 4 GB.
"""

import argparse
import platform
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt64

from imclass.core.contracts import Image, Origin
from imclass.core.targets import OneOf
from imclass.evaluation.protocols.multicrop import VGG_MULTICROP
from imclass.evaluation.score import evaluate
from imclass.models.classifier import create
from imclass.models.views.scales import proportional_scales


class Noise:
    """A data set of `n` images whose size and pixels are determined by their position."""

    splits, split, array, origin = ("test",), "test", None, Origin("noise", "noise", "published")

    def __init__(self, n: int, size: int, classes: tuple[str, ...]) -> None:
        self.size, self.classes = size, classes
        self.ids = np.arange(n)
        self.targets = OneOf(self.ids % len(classes))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Image:
        random = np.random.default_rng(i)
        shape = (*random.integers(2 * self.size, 4 * self.size, 2), 3)
        return random.integers(0, 256, shape, np.uint8)

    def name(self, i: int) -> str:
        """Return the position as a file name."""
        return f"{i}.png"

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return arbitrary values; nothing is trained on these images."""
        return self.ids.astype(np.uint64)

    def digest(self) -> str:
        """Return "", as nothing is trained on these images."""
        return ""


def peak(arguments: argparse.Namespace) -> float:
    """Return the peak resident memory in MiB after scoring `arguments.images` images in this process."""
    torch.set_num_threads(arguments.threads)
    classifier = create(arguments.network, tuple(f"class {k}" for k in range(arguments.classes)))
    size = classifier.preprocess.size
    data = Noise(arguments.images, size, classifier.classes)
    scales = proportional_scales((256, 384, 512), 224, size)
    evaluate(classifier, data, replace(VGG_MULTICROP, scales=scales))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure_peak(images: int, words: list[str]) -> float:
    """Return the peak of a separate process that scores `images` images, and print it."""
    began = time.perf_counter()
    command = [sys.executable, __file__, "--images", str(images), *words]
    result = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{images:,} images: peak {result:,.0f} MiB, {time.perf_counter() - began:,.0f} s")
    return result


def main() -> None:
    """Measure both numbers of images and print the ratio; with --images, run as one of the two processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--network", default="lenet-5")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.images:
        print(peak(arguments))
        return
    print(f"{arguments.network}, 150 crops, torch {torch.__version__}, {platform.machine()}")
    options = {"network": arguments.network, "classes": arguments.classes, "threads": arguments.threads}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    few, many = (measure_peak(n, words) for n in (arguments.few, arguments.many))
    print(f"ratio {many / few:.3f} (at most 1.05); peak {max(few, many):,.0f} MiB (under 4,096)")


if __name__ == "__main__":
    main()
