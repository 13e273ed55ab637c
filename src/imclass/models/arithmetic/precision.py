"""A probe that finds the precision and memory layout in which a network trains fastest with correct scores.

Weights are always stored in float32. In bf16, convolutions and linear layers use rounded copies, so that saved weights,
weight decay and sums stay exact. bf16 is tried on the network itself before it is used, because CPUs without bf16
instructions can be 90 times slower in bf16, and some releases of PyTorch give wrong results for certain shapes.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.runtime import DEFAULT_ARITHMETIC, Arithmetic
from imclass.models.arithmetic.convolutions import OverflowGuard
from imclass.models.arithmetic.rounding import Bf16Rounding

ImageBatch: TypeAlias = UInt8[Tensor, "N C H W"] | Float[Tensor, "N C H W"]

REPEATS = 3
MAX_SLOWDOWN = 10  # a candidate is dropped if its first step takes more than this many times as long as the fastest
CLEARLY_SLOWER = 2  # a candidate is no longer measured once its best time is this many times that of the fastest
MIN_SPEEDUP = 1.05  # another layout or precision must be this many times as fast as the best so far
# The largest relative root mean square difference between a candidate's scores and those in float32. In an untrained
# VGG with sixteen batch-normalised layers, rounding to bf16 causes a difference of 0.1, and a wrong kernel about 1.
MAX_DIFFERENCE = 0.25


@dataclass(frozen=True)
class Trial:
    """The speed and accuracy that were measured for one arithmetic."""

    arithmetic: Arithmetic
    seconds: float  # of a training step
    difference: float  # the relative root mean square difference from the scores in float32


FP32 = (DEFAULT_ARITHMETIC, Arithmetic("fp32", "nhwc"))
BF16 = (Arithmetic("bf16", "nhwc"),)


def set_memory_format(network: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """Convert a network's convolution weights to the memory order of `arithmetic` in place, and return the network."""
    return network.to(memory_format=arithmetic.memory_format)  # type: ignore[call-overload, no-any-return]


def forward(network: nn.Module, images: ImageBatch, arithmetic: Arithmetic) -> Any:
    """Run the network with this arithmetic, and return its outputs.

    In training mode, the outputs include the scores of auxiliary heads. Gradients are computed for the float32 weights,
    even in bf16.
    """
    images = images.contiguous(memory_format=arithmetic.memory_format)
    if arithmetic == DEFAULT_ARITHMETIC:
        # A mode costs a microsecond or two per call, 1% of a LeNet step, and this layout does not need one.
        return network(images)
    with Bf16Rounding() if arithmetic.precision == "bf16" else OverflowGuard():
        return network(images)


def outputs(scores: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a network's outputs as a tuple. In training mode, they include the scores of the auxiliary heads."""
    return scores if isinstance(scores, tuple) else (scores,)


def probe(
    network: nn.Module,
    images: ImageBatch,
    labels: Int64[Tensor, "N"] | None,
    candidates: Sequence[Arithmetic] = FP32 + BF16,
) -> tuple[Arithmetic, tuple[Trial, ...]]:
    """Return the fastest candidate with correct scores, and the trials of all candidates.

    Scores are correct if they agree with those computed in the default arithmetic. The trials run on copies of
    `network`. They measure training steps or, without labels, forward passes.
    """
    differences = score_differences(network, images, candidates)
    seconds = race(training_steps(network, images, labels, candidates))
    trials = [Trial(*measured) for measured in zip(candidates, seconds, differences, strict=True)]
    best = trials[0]
    for trial in trials[1:]:
        if trial.difference <= MAX_DIFFERENCE and trial.seconds * MIN_SPEEDUP < best.seconds:
            best = trial
    return best.arithmetic, tuple(trials)


def score_differences(network: nn.Module, images: ImageBatch, candidates: Sequence[Arithmetic]) -> list[float]:
    """Return the relative difference between each candidate's scores and those in the default arithmetic."""
    exact = trial_scores(network, images, DEFAULT_ARITHMETIC)
    return [
        0.0 if candidate == DEFAULT_ARITHMETIC else relative_rms(trial_scores(network, images, candidate), exact)
        for candidate in candidates
    ]


def trial_scores(network: nn.Module, images: Tensor, arithmetic: Arithmetic) -> Float[Tensor, "N K"]:
    """Return the scores of a copy of the network in evaluation mode, but with its batch norms in training mode."""
    trial = set_memory_format(copy.deepcopy(network), arithmetic).train()
    # An untrained network has no useful running statistics, and without normalisation its scores might overflow.
    # Dropout must be off, since its draws would differ between the candidates.
    for module in trial.modules():
        if not isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.training = False
    with torch.no_grad():
        return forward(trial, images, arithmetic).float()


def relative_rms(scores: Tensor, exact: Tensor) -> float:
    """Return the root mean square of `scores - exact`, divided by the root mean square of `exact`."""
    return ((scores - exact).square().mean() / exact.square().mean().clamp_min(1e-12)).sqrt().item()


def training_steps(
    network: nn.Module, images: Tensor, labels: Tensor | None, candidates: Sequence[Arithmetic]
) -> list[Callable[[], None]]:
    """Return one function per candidate. Each function runs a training step on a copy of `network`.

    Without labels, a step is a forward pass in evaluation mode. Candidates with the same memory layout share a copy.
    """
    copies = {
        layout: set_memory_format(copy.deepcopy(network), Arithmetic(layout=layout)).train(labels is not None)
        for layout in {arithmetic.layout for arithmetic in candidates}
    }

    def step(arithmetic: Arithmetic) -> None:
        trial = copies[arithmetic.layout]
        with torch.set_grad_enabled(labels is not None):
            scores = outputs(forward(trial, images, arithmetic))
        if labels is not None:
            torch.stack([functional.cross_entropy(each.float(), labels) for each in scores]).sum().backward()
            trial.zero_grad(set_to_none=True)  # only one copy has gradients at a time, to save memory
        if images.is_cuda:
            torch.cuda.synchronize()

    return [partial(step, arithmetic) for arithmetic in candidates]


def race(steps: Sequence[Callable[[], None]]) -> list[float]:
    """Return the shortest duration of each step in seconds, measured in rounds that call every step once.

    Other processes may slow the machine for a while. In rounds, this affects all candidates, whereas a candidate
    measured on its own could be the only one affected. The first round serves to prepare kernels. Its time counts only
    for a step that is too slow to be called again. A step that is clearly slower than the fastest leaves the race,
    which ends when one step is left.
    """
    first = [time_call(step) for step in steps]
    running = [i for i, seconds in enumerate(first) if seconds <= MAX_SLOWDOWN * min(first)]
    fastest = [math.inf if i in running else seconds for i, seconds in enumerate(first)]
    for _ in range(REPEATS):
        for i in running:
            fastest[i] = min(fastest[i], time_call(steps[i]))
        running = [i for i in running if fastest[i] < CLEARLY_SLOWER * min(fastest)]
        if len(running) == 1:
            break
    return fastest


def time_call(step: Callable[[], object]) -> float:
    """Call a step and return its duration in seconds."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
