"""Dense evaluation against 150 crops, and 50 crops against a loop that processes each view separately.

    python benchmarks/protocols.py [--network vgg-d] [--width 1.0] [--rounds 5] [--threads 2]

All sides score one square JPEG with random weights, alternately in one process. The claims:

1. `dense` at three scales with mirrors, against `vgg-multicrop` with 150 crops at the same scales: the ratio of times
   is at least 80% of the ratio of multiply-adds (7.1 for VGG-D).
2. 50 crops at one scale, starting from the file, are at least 1.5 times as fast as a loop that for each view decodes,
   rescales, crops and runs a plain float32 N C H W network. This holds in plain float32, as in the loop, and in the
   faster arithmetics.

Ratios are printed for the best rounds and for medians. The former are more reliable on a busy machine.
"""

import argparse
import copy
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imclass.core.config import Model
from imclass.core.runtime import DEFAULT_ARITHMETIC, Arithmetic
from imclass.data.images.decode import decode
from imclass.evaluation.protocols.dense import DENSE
from imclass.evaluation.protocols.multicrop import VGG_MULTICROP
from imclass.models.arithmetic.eager import eager_engine
from imclass.models.arithmetic.precision import BF16, FP32
from imclass.models.classifier import NetworkClassifier, create, networks
from imclass.models.network import Network
from imclass.models.views.crops import grid_crops

SCALES = (256, 384, 512)
Side = Callable[[], Tensor]


def in_arithmetic(classifier: NetworkClassifier, arithmetic: Arithmetic) -> NetworkClassifier:
    """Return a copy of a classifier that computes in this arithmetic."""
    network = copy.deepcopy(classifier.network).eval()
    return replace(classifier, network=network, engine=eager_engine(network, arithmetic))


def score_by_loop(network: Network, path: Path, q: int) -> Float[Tensor, "N K"]:
    """Return the log of the mean probabilities of 50 views, each computed from the file, as a plain script would."""
    total = torch.zeros(1)
    for number in range(50):
        picture = Image.open(path).convert("RGB")
        factor = q / min(picture.size)
        size = (round(picture.width * factor), round(picture.height * factor))
        view = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
        top, left, side = grid_crops(view.shape[0], view.shape[1], network.size)[number // 2]
        view = view[top : top + side, left : left + side]
        view = view[:, ::-1] if number % 2 else view
        pixels = torch.from_numpy(view.transpose(2, 0, 1).copy())[None]
        with torch.inference_mode():
            total = total + network(pixels).softmax(1)
    return (total / 50).log()


def multiply_adds(outline: Network, q: int) -> int:
    """Return the multiply-adds for one image of q x q pixels, counted on the meta device without computing anything."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outline.dense(torch.empty(1, outline.w_in, q, q, device="meta"))
    return int(counter.get_total_flops()) // 2


def time_in_turn(sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each side, round by round, after a warm-up round.

    With one thread they are processor seconds, on which other work on the machine has little effect.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            began = clock()
            side()
            if number:
                seconds[name].append(clock() - began)
    return seconds


def show(seconds: Mapping[str, Sequence[float]], peer: str) -> float:
    """Print a line for each side with its ratios to `peer`; return the first side's ratio of best rounds."""
    for name, taken in seconds.items():
        medians = statistics.median(seconds[peer]) / statistics.median(taken)
        best = min(seconds[peer]) / min(taken)
        print(f"  {name:<28} best {min(taken):8.3f} s   {best:6.2f} x ({medians:.2f} x of medians)")
    first = next(iter(seconds))
    return min(seconds[peer]) / min(seconds[first])


def picture(path: Path, side: int = 500) -> None:
    """Write a smooth random image as a JPEG."""
    fields = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(fields).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)


def classifier_of(name: str, width: float) -> NetworkClassifier:
    """Return a network with He's random weights, so that scores differ; layers of a VGG are `width` times as wide."""
    row, narrow = networks()[name].row, {}
    if width != 1:
        narrow = {key: tuple(round(w * width) for w in getattr(row, key)) for key in ("widths", "hidden")}
    classifier = create(Model(name, narrow), [f"class {k}" for k in range(1000)])
    for layer in classifier.network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return classifier


def main() -> None:
    """Measure both claims and print them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="vgg-d")
    for option, kind, value in (("--width", float, 1.0), ("--rounds", int, 5), ("--threads", int, 2)):
        parser.add_argument(option, type=kind, default=value)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{platform.machine()}, {given.threads} threads, torch {torch.__version__}, {given.network} x {given.width}")
    classifier = classifier_of(given.network, given.width)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        picture(path)
        dense_against_crops(classifier, [decode(path)], given.rounds)
        crops_against_loop(classifier, path, given.rounds)


def dense_against_crops(
    classifier: NetworkClassifier, images: Sequence[UInt8[np.ndarray, "_ _ _"]], rounds: int
) -> None:
    """Measure and print claim 1."""
    outline = copy.deepcopy(classifier.network).to("meta").eval()
    dense = 2 * sum(multiply_adds(outline, q) for q in SCALES)
    expected = 150 * multiply_adds(outline, outline.size) / dense
    print(f"three scales, dense with mirrors against 150 crops: multiply-adds {expected:.2f} x")
    for arithmetic in FP32:
        ours = in_arithmetic(classifier, arithmetic)
        sides: dict[str, Side] = {
            f"dense, {arithmetic}": lambda ours=ours: replace(DENSE, scales=SCALES)(ours, images),  # type: ignore[misc]
            f"150 crops, {arithmetic}": lambda ours=ours: replace(VGG_MULTICROP, scales=SCALES)(ours, images),  # type: ignore[misc]
        }
        ratio = show(time_in_turn(sides, rounds), peer=f"150 crops, {arithmetic}")
        print(f"  {100 * ratio / expected:.0f}% of the multiply-adds' ratio")


def crops_against_loop(classifier: NetworkClassifier, path: Path, rounds: int) -> None:
    """Measure and print claim 2."""
    print("50 crops at one scale, starting from the file, against a loop over views")
    plain = in_arithmetic(classifier, DEFAULT_ARITHMETIC)
    sides: dict[str, Side] = {}
    for arithmetic in (*FP32, *BF16):
        ours = in_arithmetic(classifier, arithmetic)
        sides[str(arithmetic)] = lambda ours=ours: replace(VGG_MULTICROP, scales=(256,))(ours, [decode(path)])  # type: ignore[misc]
    sides["a loop, fp32"] = lambda: score_by_loop(plain.network, path, 256)
    exact = sides["a loop, fp32"]().softmax(1)
    for name, side in sides.items():
        print(f"  {name:<28} largest difference of probabilities {(side().softmax(1) - exact).abs().max():.1e}")
    show(time_in_turn(sides, rounds), peer="a loop, fp32")


if __name__ == "__main__":
    main()
