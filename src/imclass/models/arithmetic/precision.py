"""Which arithmetic and memory layout a network trains fastest in on this machine, without losing what it computes.

Weights are always kept in float32; in bf16 the convolutions and linear layers see rounded copies of them, so that what
is saved, decayed and summed up stays exact. CPUs without bf16 instructions can be 90 times slower in it, and in some
releases some shapes came out wrong, so it is tried on the very network before it is used.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.runtime import PLAIN, Arithmetic
from imclass.models.arithmetic.rounding import Rounded

Images: TypeAlias = UInt8[Tensor, "N C H W"] | Float[Tensor, "N C H W"]

REPEATS = 3
WORTH = 1.05  # another layout or precision must be this much faster to be taken ...
# ... and its scores this close to float32's, as a relative root mean square difference. Sixteen batch-normalised layers
# of an untrained VGG make 0.1 of bf16's rounding; a kernel that computes something else makes 1.
CLOSE = 0.25


@dataclass(frozen=True)
class Trial:
    """How one arithmetic did: seconds a training step, and how far its scores are from float32's."""

    arithmetic: Arithmetic
    seconds: float
    difference: float


FP32 = (PLAIN, Arithmetic("fp32", "nhwc"))
BF16 = (Arithmetic("bf16", "nhwc"),)


def laid_out(network: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """`network` itself, its convolutions' weights in this memory order."""
    return network.to(memory_format=arithmetic.memory_format)  # type: ignore[call-overload, no-any-return]


def forward(network: nn.Module, images: Images, arithmetic: Arithmetic) -> Any:
    """What the network gives in this arithmetic (while training, scores of auxiliary heads follow its own).

    Gradients reach the float32 weights.
    """
    images = images.contiguous(memory_format=arithmetic.memory_format)
    if arithmetic.precision == "fp32":
        return network(images)
    with Rounded():
        return network(images)


def outputs(scores: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a network gives: its scores, and while training those of its auxiliary heads."""
    return scores if isinstance(scores, tuple) else (scores,)


def probe(
    network: nn.Module,
    images: Images,
    labels: Int64[Tensor, "N"],
    candidates: Sequence[Arithmetic] = FP32 + BF16,
) -> tuple[Arithmetic, tuple[Trial, ...]]:
    """The fastest candidate whose scores agree with plain float32's, and what was measured on copies of `network`."""
    exact = scored(network, images, PLAIN)
    trials: list[Trial] = []
    for arithmetic in candidates:
        found = scored(network, images, arithmetic)
        difference = ((found - exact).square().mean() / exact.square().mean().clamp_min(1e-12)).sqrt().item()
        fastest = min((t.seconds for t in trials), default=math.inf)
        trials.append(Trial(arithmetic, timed(network, images, labels, arithmetic, give_up=2 * fastest), difference))
    best = trials[0]
    for trial in trials[1:]:
        if trial.difference <= CLOSE and trial.seconds * WORTH < best.seconds:
            best = trial
    return best.arithmetic, tuple(trials)


def scored(network: nn.Module, images: Tensor, arithmetic: Arithmetic) -> Float[Tensor, "N K"]:
    """Scores of a copy in evaluation mode, normalised by the batch so that an untrained network does not overflow."""
    trial = laid_out(copy.deepcopy(network), arithmetic).train()
    for module in trial.modules():
        if not isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.training = False  # no dropout
    with torch.no_grad():
        return forward(trial, images, arithmetic).float()


def timed(network: nn.Module, images: Tensor, labels: Tensor, arithmetic: Arithmetic, give_up: float) -> float:
    """Seconds of the fastest of a few training steps of a copy; only one is made where that takes over `give_up`."""
    trial = laid_out(copy.deepcopy(network), arithmetic).train()
    seconds = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        trial.zero_grad()
        scores = outputs(forward(trial, images, arithmetic))
        torch.stack([functional.cross_entropy(each.float(), labels) for each in scores]).sum().backward()
        if images.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        if seconds[-1] > 5 * give_up:
            break
    return min(seconds[1:] or seconds)
