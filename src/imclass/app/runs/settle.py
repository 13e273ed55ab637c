"""Choice of a run's device, threads, precision and memory layout, made once when the run begins."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from imclass.core import runtime
from imclass.core.config import Training
from imclass.core.errors import UserError
from imclass.data.loader import Loader
from imclass.models.arithmetic import precision
from imclass.models.classifier import NetworkClassifier

PROBE_IMAGES = 32  # images in the training step of a probe
SOLVER_PROBE_IMAGES = 8  # the same if the run begins with a solver, which takes only seconds


def choose_runtime(
    config: Training, recorded: runtime.Runtime | None, classifier: NetworkClassifier, first: Loader
) -> tuple[runtime.Runtime, tuple[str, ...]]:
    """Return the runtime to use, and a note if its precision was chosen by a probe.

    A recorded runtime is used again. Otherwise, the precision is that of the config or, if that is "auto", the fastest
    that a probe finds.
    """
    if recorded:
        runtime.resolve_runtime(recorded.device)  # raises an error if this machine does not have the device
        return recorded, ()
    used = runtime.resolve_runtime(config.device)
    if config.precision != "auto":
        chosen = runtime.Arithmetic("bf16", "nhwc") if config.precision == "bf16" else runtime.DEFAULT_ARITHMETIC
        return replace(used, arithmetic=chosen), ()
    images = trial_images(config, first).to(used.device)
    count = len(images)
    network = copy.deepcopy(classifier.network).to(used.device)
    labels = torch.zeros(count, dtype=torch.int64, device=used.device)  # the time does not depend on their values
    chosen, trials = precision.probe(network, images, labels)
    note = f"{chosen} was chosen for this network: {describe_trials(trials, count)}"
    return replace(used, arithmetic=chosen), (note,)


def trial_images(config: Training, first: Loader) -> UInt8[Tensor, "N C H W"]:
    """Return the images for the probe. Raise `UserError` if no training image can be read."""
    if config.stages[0].kind == "solve":
        images = first.first_views(SOLVER_PROBE_IMAGES)
    else:
        parts = (part.images for batch in first.batches(0) for part in batch.parts.values())
        images = next((part for part in parts if len(part)), first.first_views(0))[:PROBE_IMAGES]
    if not len(images):
        path = first.dataset.origin.path
        raise UserError(f"no training image of {path} can be read; find out why with: imclass data check {path}")
    return images


def describe_trials(trials: Sequence[precision.Trial], images: int) -> str:
    """Describe the measurements of a probe."""
    return "; ".join(
        f"{t.arithmetic} {images / t.seconds:,.0f} images/s, scores within {t.difference:.1g}" for t in trials
    )
