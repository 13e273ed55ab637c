"""Images per second in training at 224 pixels in bf16, against a plain PyTorch loop over the same network.

    python benchmarks/imagenet_steps.py [--networks alexnet vgg-d resnet-50] [--rounds 5] [--seconds 0.4]

Both sides take turns in one process. They begin each step with the same uint8 images in pinned memory of the CPU, and
run the forward pass, the backward pass and SGD with momentum. Ours is the step of `imclass train`: channels last,
deterministic kernels, checks for NaN, and losses that are read after each step. The plain loop has autocast,
channels_last, cuDNN's benchmark mode, and no checks. Its network is torchvision's if that can be imported, otherwise
ours. `free` is our step without deterministic kernels, which shows their cost. The claim is the ratio to the plain
loop. ResNet-50 is the version with the stride in the 3x3 convolution, as in torchvision.

On an NVIDIA H200 (torch 2.11, cuDNN of CUDA 13, medians of 5 rounds), our step reached 0.75 (0.71 to 0.75) of the plain
loop's speed with AlexNet, 0.90 (0.89 to 0.90) with VGG-D and 0.79 (0.78 to 0.80) with ResNet-50. Deterministic kernels
cost little: without them, the ratios are 0.73, 0.90 and 0.80. Our step waits for the GPU several times, whereas the
plain loop never does.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imclass.core.config import Execution, Model, Stage, Training
from imclass.core.contracts import Origin
from imclass.core.model_file import Provenance
from imclass.core.preprocess import Preprocess
from imclass.core.runtime import Arithmetic, Runtime, apply_runtime
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.models.classifier import create
from imclass.store.context import open_context
from imclass.training.events import StepEnd
from imclass.training.loop import pin_images, step
from imclass.training.optimisers.sgd import SGD
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Splits, plan, resolve_models
from imclass.training.schedules.constant import Constant
from imclass.training.state import State

NETWORKS = {  # our name, torchvision's name, and the images in a step on a GPU
    "alexnet": ("alexnet", "alexnet", 256),
    "vgg-d": ("vgg-d", "vgg16", 128),
    "resnet-50": ("resnet-50-v1.5", "resnet50", 256),
}
CPU_BATCH = 4
CLASSES = tuple(f"class {k}" for k in range(1000))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RATE, MOMENTUM, DECAY = 0.001, 0.9, 1e-4
PREPROCESS = Preprocess(size=224, resize="squash")
WARM = 3  # steps before the first that is timed
SIDES = ("plain", "imclass", "free")


def noise(batch: int) -> ArrayDataset:
    """Return images of noise, since the speed does not depend on their content."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (batch, 224, 224, 3), np.uint8), random.integers(0, 1000, batch)
    return ArrayDataset(images, OneOf(labels), CLASSES, ("train",), "train", Origin("noise", "", "published"))


def ours(name: str, data: ArrayDataset, device: str) -> Iterator[None]:
    """Run one step of our loop each time the iterator is advanced."""
    context = open_context()
    optimiser = SGD(momentum=MOMENTUM, weight_decay=DECAY)
    stages = (Stage(batch=len(data), optimiser=optimiser, schedule=Constant(rate=RATE)),)
    config = Training("noise", Model(name, mean=MEAN, std=STD), stages, PREPROCESS, "noise")
    config = resolve_models(config, context)
    (leg,) = plan(config, Splits(data, ()), Provenance(), Execution(workers=0), context, lambda *_: unreachable())
    state = State(Runtime(device, torch.get_num_threads(), Arithmetic("bf16", "nhwc")))
    state.enter(leg)
    batch = next(leg.loader.batches(0))
    batch = batch if device == "cpu" else pin_images(batch)  # as a run does
    while True:
        event = step(leg, state, SingleProcess(), batch, time.monotonic())
        if not isinstance(event, StepEnd):
            raise SystemExit(f"{name}: a step is not finite")
        yield


def unreachable() -> Any:
    """Fail, because this benchmark scores no images."""
    raise RuntimeError("the leg's scorer was called")


def plain_network(ours_name: str, theirs: str) -> tuple[nn.Module, bool]:
    """Return torchvision's network, or ours without torchvision, and whether its input must be normalised."""
    try:
        from torchvision import models
    except ImportError:
        return create(Model(ours_name, mean=MEAN, std=STD), CLASSES, PREPROCESS).network, False
    return models.get_model(theirs, weights=None), True


def plain(name: str, theirs: str, data: ArrayDataset, device: str) -> Iterator[None]:
    """Run one step of a plain loop each time the iterator is advanced."""
    network, normalised = plain_network(name, theirs)
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    images, labels = torch.from_numpy(data.array).permute(0, 3, 1, 2), torch.as_tensor(data.targets.numpy())
    if device != "cpu":
        images, labels = images.pin_memory(), labels.pin_memory()
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    kind = torch.device(device).type
    while True:
        batch, wanted = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        if normalised:
            batch = (batch.float() / 255 - mean) / std
        with torch.autocast(kind, torch.bfloat16):
            loss = functional.cross_entropy(network(batch.contiguous(memory_format=torch.channels_last)), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield


def set_flags(side: str) -> None:
    """Set the global flags with which a side runs."""
    torch.use_deterministic_algorithms(side == "imclass", warn_only=True)
    torch.backends.cudnn.benchmark = side == "plain"


def wait(device: str) -> None:
    """Wait until the device has finished all work."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def duration(side: str, steps: Iterator[None], count: int, device: str) -> float:
    """Return the seconds of a number of steps."""
    set_flags(side)
    wait(device)
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    wait(device)
    return time.perf_counter() - began


def measure(
    makers: Mapping[str, Callable[[], Iterator[None]]], rounds: int, seconds: float, device: str
) -> dict[str, list[float]]:
    """Return the seconds of a step of each side in each round. The sides take turns."""
    sides, counts = {}, {}
    for side, make in makers.items():
        set_flags(side)
        sides[side] = make()
        duration(side, sides[side], WARM, device)
        counts[side] = max(1, round(seconds / duration(side, sides[side], 1, device)))
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, steps in sides.items():
            found[side].append(duration(side, steps, counts[side], device) / counts[side])
    return found


def report(name: str, batch: int, found: Mapping[str, list[float]]) -> None:
    """Print a line for each side."""
    print(f"{name}, batch {batch}")
    for side, times in found.items():
        rates = [batch / each for each in times]
        ratios = [base / each for base, each in zip(found["plain"], times, strict=True)]
        line = f"{statistics.median(rates):8.1f} images/s ({min(rates):.1f} to {max(rates):.1f})"
        ratio = f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"  {side:<8}{line}   {ratio}", flush=True)


def main() -> None:
    """Measure all networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="images in a step (default: one for each network)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4, help="least time of a measurement")
    given = parser.parse_args()
    cpu = given.device == "cpu"
    apply_runtime(Runtime(given.device, torch.get_num_threads()))
    card = "cpu" if cpu else torch.cuda.get_device_name(given.device)
    try:
        import torchvision

        peer = f"torchvision {torchvision.__version__}"
    except ImportError:
        peer = "our networks in the plain loop, because torchvision is not installed"
    print(f"{card}, torch {torch.__version__}, {peer}")
    for name in given.networks:
        known, theirs, batch = NETWORKS[name]
        data = noise(given.batch or (CPU_BATCH if cpu else batch))
        makers: dict[str, Callable[[], Iterator[None]]] = {
            side: (lambda: plain(known, theirs, data, given.device))  # noqa: B023 # called in this round
            if side == "plain"
            else (lambda: ours(known, data, given.device))  # noqa: B023
            for side in SIDES
        }
        report(name, len(data), measure(makers, given.rounds, given.seconds, given.device))
        if not cpu:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
