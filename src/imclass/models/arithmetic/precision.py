"""Which arithmetic and memory layout a network trains fastest in on this machine, without losing what it computes.

Weights are always kept in float32; in bf16 the convolutions and linear layers see rounded copies of them, so that what
is saved, decayed and summed up stays exact. CPUs without bf16 instructions can be 90 times slower in it, and in some
releases some shapes came out wrong, so it is tried on the very network before it is used.
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
MAX_SLOWDOWN = 10  # a candidate whose first step takes this many times as long as another's is not tried again
MIN_SPEEDUP = 1.05  # another layout or precision must be this much faster to be taken ...
# ... and its scores this close to float32's, as a relative root mean square difference. Sixteen batch-normalised layers
# of an untrained VGG make 0.1 of bf16's rounding; a kernel that computes something else makes 1.
MAX_DIFFERENCE = 0.25


@dataclass(frozen=True)
class Trial:
    """How one arithmetic did: seconds a training step, and how far its scores are from float32's."""

    arithmetic: Arithmetic
    seconds: float
    difference: float


FP32 = (DEFAULT_ARITHMETIC, Arithmetic("fp32", "nhwc"))
BF16 = (Arithmetic("bf16", "nhwc"),)


def set_memory_format(network: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """`network` itself, its convolutions' weights in this memory order."""
    return network.to(memory_format=arithmetic.memory_format)  # type: ignore[call-overload, no-any-return]


def forward(network: nn.Module, images: ImageBatch, arithmetic: Arithmetic) -> Any:
    """What the network gives in this arithmetic (while training, scores of auxiliary heads follow its own).

    Gradients reach the float32 weights.
    """
    images = images.contiguous(memory_format=arithmetic.memory_format)
    if arithmetic == DEFAULT_ARITHMETIC:
        return network(images)  # no mode, which costs a microsecond or two a call: a hundredth of LeNet's step
    with Bf16Rounding() if arithmetic.precision == "bf16" else OverflowGuard():
        return network(images)


def outputs(scores: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a network gives: its scores, and while training those of its auxiliary heads."""
    return scores if isinstance(scores, tuple) else (scores,)


def probe(
    network: nn.Module,
    images: ImageBatch,
    labels: Int64[Tensor, "N"],
    candidates: Sequence[Arithmetic] = FP32 + BF16,
) -> tuple[Arithmetic, tuple[Trial, ...]]:
    """The fastest candidate whose scores agree with plain float32's, and what was measured on copies of `network`."""
    exact = trial_scores(network, images, DEFAULT_ARITHMETIC)
    differences = [relative_rms(trial_scores(network, images, arithmetic), exact) for arithmetic in candidates]
    seconds = race(training_steps(network, images, labels, candidates))
    trials = [Trial(*measured) for measured in zip(candidates, seconds, differences, strict=True)]
    best = trials[0]
    for trial in trials[1:]:
        if trial.difference <= MAX_DIFFERENCE and trial.seconds * MIN_SPEEDUP < best.seconds:
            best = trial
    return best.arithmetic, tuple(trials)


def trial_scores(network: nn.Module, images: Tensor, arithmetic: Arithmetic) -> Float[Tensor, "N K"]:
    """Scores of a copy in evaluation mode, normalised by the batch so that an untrained network does not overflow."""
    trial = set_memory_format(copy.deepcopy(network), arithmetic).train()
    for module in trial.modules():
        if not isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.training = False  # no dropout
    with torch.no_grad():
        return forward(trial, images, arithmetic).float()


def relative_rms(scores: Tensor, exact: Tensor) -> float:
    """Return the root mean square of a difference, relative to that of what is exact."""
    return ((scores - exact).square().mean() / exact.square().mean().clamp_min(1e-12)).sqrt().item()


def training_steps(
    network: nn.Module, images: Tensor, labels: Tensor, candidates: Sequence[Arithmetic]
) -> list[Callable[[], None]]:
    """Return a training step in each arithmetic, on a copy of `network` for each memory order."""
    copies = {
        layout: set_memory_format(copy.deepcopy(network), Arithmetic(layout=layout)).train()
        for layout in {arithmetic.layout for arithmetic in candidates}
    }

    def step(arithmetic: Arithmetic) -> None:
        trial = copies[arithmetic.layout]
        scores = outputs(forward(trial, images, arithmetic))
        torch.stack([functional.cross_entropy(each.float(), labels) for each in scores]).sum().backward()
        trial.zero_grad(set_to_none=True)  # so that no more than one copy holds gradients
        if images.is_cuda:
            torch.cuda.synchronize()

    return [partial(step, arithmetic) for arithmetic in candidates]


def race(steps: Sequence[Callable[[], None]]) -> list[float]:
    """Return the seconds of the fastest call of each step, in rounds that call every step once.

    Other processes come and go while this measures. In rounds they slow one candidate as they slow the others, where a
    candidate measured by itself might meet all of them. The first round prepares kernels and only counts for a step
    that was so slow in it that it is not called again.
    """
    first = [time_call(step) for step in steps]
    hopeful = [seconds <= MAX_SLOWDOWN * min(first) for seconds in first]
    fastest = [math.inf if hope else seconds for hope, seconds in zip(hopeful, first, strict=True)]
    for _ in range(REPEATS):
        for i, step in enumerate(steps):
            if hopeful[i]:
                fastest[i] = min(fastest[i], time_call(step))
    return fastest


def time_call(step: Callable[[], None]) -> float:
    """Call a step and return the seconds it took."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
