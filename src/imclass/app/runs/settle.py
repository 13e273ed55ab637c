"""Choice of a run's device, threads, precision and memory layout, made once when the run begins."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from imclass.core import runtime
from imclass.core.config import Training
from imclass.core.errors import UserError
from imclass.data.loader import Loader
from imclass.models.arithmetic import precision
from imclass.training.plan import Leg
from imclass.training.solve import stored_arithmetic

PROBE_IMAGES = 32  # images in the training step of a probe
SOLVER_PROBE_IMAGES = 8  # as PROBE_IMAGES, if the run begins with a solver, which takes only seconds
FORWARD_PROBE_IMAGES = 4  # as PROBE_IMAGES, if all stages are solved, which needs no gradients
# With fewer training images, a probe of forward passes takes longer than computing their features in float32.
MIN_PROBED_IMAGES = 100
ARITHMETICS = precision.FP32 + precision.BF16
FEATURES_ARITHMETIC = runtime.Arithmetic("fp32", "nhwc")  # used without a probe, and by evaluation


def choose_runtime(
    config: Training, recorded: runtime.Runtime | None, leg: Leg
) -> tuple[runtime.Runtime, tuple[str, ...]]:
    """Return the runtime to use, and a note if its precision was chosen by a probe. `leg` is the run's first leg.

    A recorded runtime is used again. Otherwise, the precision is that of the config or, if that is "auto", the fastest
    that a probe finds. A run that only fits solvers is not probed if it has few images, or if the store contains its
    features, whose precision is then used.
    """
    if recorded:
        runtime.resolve_runtime(recorded.device)  # raises an error if this machine does not have the device
        return recorded, ()
    used = configured_runtime(config)
    if config.precision != "auto":
        return used, ()
    classifier, first = leg.make(), leg.loader
    only_solves = all(stage.kind == "solve" for stage in config.stages)
    if only_solves and len(first.dataset) < MIN_PROBED_IMAGES:
        return replace(used, arithmetic=FEATURES_ARITHMETIC), ()
    count = FORWARD_PROBE_IMAGES if only_solves else SOLVER_PROBE_IMAGES
    images = trial_images(config, first, count).to(used.device)
    network = copy.deepcopy(classifier.network).to(used.device)
    if only_solves and (stored := stored_arithmetic(leg, used, ARITHMETICS)) is not None:
        (difference,) = precision.score_differences(network, images, (stored,))
        if difference <= precision.MAX_DIFFERENCE:
            return replace(used, arithmetic=stored), (f"{stored} was chosen because the store has such features",)
    # The time does not depend on the values of the labels.
    labels = None if only_solves else torch.zeros(len(images), dtype=torch.int64, device=used.device)
    chosen, trials = precision.probe(network, images, labels)
    note = f"{chosen} was chosen for this network: {describe_trials(trials, len(images))}"
    return replace(used, arithmetic=chosen), (note,)


def configured_runtime(config: Training) -> runtime.Runtime:
    """Return the runtime with the device and the precision of a config. The precision "auto" counts as float32."""
    arithmetic = runtime.Arithmetic("bf16", "nhwc") if config.precision == "bf16" else runtime.DEFAULT_ARITHMETIC
    return replace(runtime.resolve_runtime(config.device), arithmetic=arithmetic)


def trial_images(config: Training, first: Loader, count: int) -> precision.ImageBatch:
    """Return the images for the probe, at most `count` of them if the run begins with a solver.

    Raise `UserError` if no training image can be read.
    """
    if config.stages[0].kind == "solve":
        images = first.first_views(count)
    else:
        parts = (part.images for batch in first.batches(0) for part in batch.parts.values())
        images = next((part for part in parts if len(part)), first.first_views(0))[:PROBE_IMAGES]
    if not len(images):
        path = first.dataset.origin.path
        raise UserError(f"no training image in {path} can be read; find out why with: imclass data check {path}")
    return images


def describe_trials(trials: Sequence[precision.Trial], images: int) -> str:
    """Describe the measurements of a probe."""
    return "; ".join(
        f"{t.arithmetic} {images / t.seconds:,.0f} images/s, scores within {t.difference:.1g}" for t in trials
    )
