"""An estimate of the time, memory and disk space of a run, extrapolated from steps with one, two and four images."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from imclass.app.machine.peaks import free_memory, held_memory, peak_of
from imclass.app.runs.beginning import Fetch, weights_to_fetch
from imclass.app.runs.epochs import epochs_key, epochs_within
from imclass.app.runs.pace import (
    ScoreImages,
    combine_seconds,
    least_images,
    load_sample,
    median_seconds,
    sample_loader,
    spaced_images,
    throwaway_state,
)
from imclass.core.runtime import Runtime, apply_runtime
from imclass.core.text import duration_text, size_text
from imclass.data.subset import VALIDATION
from imclass.models.arithmetic.eager import EagerEngine
from imclass.models.layers.heads import linear_layer
from imclass.training.loop import step
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Leg
from imclass.training.state import State

if TYPE_CHECKING:
    from imclass.app.runs.train import Job

SIZES = (1, 2, 4)  # images in the measured steps
LIMIT = 1.0  # seconds after which no measurement is repeated
TINY_RATE = 1e-12
DAY = 24 * 3600
FLOAT_BYTES = 4
ROW_BYTES = 40  # bytes per row in the store's file of features, in addition to the features


@dataclass(frozen=True)
class Line:
    """A straight line through measurements of steps with a few images."""

    constant: float
    slope: float  # per image

    def at(self, images: int) -> float:
        """Return the value for a number of images."""
        return self.constant + self.slope * images


@dataclass(frozen=True)
class Need:
    """The bytes that a run needs, and those available to it. None stands for an unknown number.

    Both numbers for memory include the memory that the process already holds.
    """

    needed: int | None
    available: int | None


@dataclass(frozen=True)
class StageEstimate:
    """The estimate of a stage. `steps` and `seconds` are totals over all of its epochs."""

    name: str
    epochs: int
    steps: int
    features: int  # the number of images whose features a solver needs
    seconds: float | None


@dataclass(frozen=True)
class Estimate:
    """The estimate of a run. `fetch` describes published weights that the run would download."""

    runtime: str
    stages: tuple[StageEstimate, ...]
    seconds: float | None
    memory: Need
    disk: Need  # disk space for the run's folder during training
    store: Need  # disk space for the features in the store
    fetch: Fetch | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LegCost:
    """What the parts of a leg cost, extrapolated from a few images."""

    opening: float  # seconds, once, to decode the images and keep them in memory
    step: float  # seconds per step, including loading its images
    scoring: float  # seconds per image, without gradients
    memory: int  # peak, in bytes
    checkpoint: int  # bytes
    model: int  # bytes


def estimate_run(job: "Job", score: ScoreImages) -> Estimate:
    """Measure small steps of each leg on copies of its network, and extrapolate linearly to the whole run."""
    apply_runtime(job.runtime)
    device, store = job.runtime.device, job.legs[0].context.store
    free, held = free_memory(device), held_memory(device)
    costs = [measure_leg(leg, job.runtime, free, score) for leg in job.legs]
    stages = tuple(estimate_stage(leg, cost, job) for leg, cost in zip(job.legs, costs, strict=True))
    known = [cost for cost in costs if cost is not None]
    whole = len(known) == len(costs)
    estimate = Estimate(
        runtime=str(job.runtime),
        stages=stages,
        seconds=sum(stage.seconds or 0.0 for stage in stages) if whole else None,
        memory=Need(max(cost.memory for cost in known) if whole else None, None if free is None else free + held),
        disk=Need(disk_of_run(job, known) if whole else None, free_disk(job.run.folder)),
        store=Need(sum(features_bytes(leg, job) for leg in job.legs), free_disk(store.folder)),
        fetch=weights_to_fetch(job.config.init, store),
    )
    return replace(estimate, warnings=tuple(warnings_of(estimate)))


def measure_leg(leg: Leg, used: Runtime, free: int | None, score: ScoreImages) -> LegCost | None:
    """Measure a leg. Return None if the smallest step might need more than half of the free memory."""
    state, images, solves = throwaway_state(leg, used), len(leg.loader.dataset), leg.stage.kind == "solve"
    sizes = [size for size in SIZES if least_images(leg) <= size <= images] or [images]
    sizes = [size for size in sizes if free is None or expected_bytes(leg, state, size) <= free / 2]
    if not sizes:
        return None
    _, opening, loading = load_sample(leg, sizes[-1])
    computing, memory = (Line(0.0, 0.0), Line(0.0, 0.0)) if solves else measure_steps(leg, state, sizes)
    classifier = state.learner.classifier
    if solves:
        classifier = replace(classifier, engine=EagerEngine(classifier.network, used.arithmetic))
    sample = spaced_images(leg.loader.dataset, sizes[-1])
    peak = peak_of(lambda: score(classifier, sample), used.device)
    scoring = median_seconds(lambda: score(classifier, sample), LIMIT) / len(sample)
    batch, parts = min(leg.stage.batch, images), leg.stage.micro_batches
    kept = images * int(np.prod(leg.loader.shape)) if leg.loader.in_memory and not solves else 0
    model = tensor_bytes(state.learner.network.state_dict())
    seconds = parts * computing.constant + batch * computing.slope
    average = model if leg.stage.average is not None and state.average is None else 0  # created after the steps
    return LegCost(
        opening=opening,
        step=combine_seconds(leg, batch * loading / sizes[-1], seconds, used),
        scoring=scoring,
        memory=max(peak, round(memory.at(-(-batch // parts))) + kept) + average,
        checkpoint=tensor_bytes(state.tensors()) + average + (model if VALIDATION in leg.held_out else 0),
        model=model,
    )


def expected_bytes(leg: Leg, state: State, size: int) -> int:
    """Return a rough estimate of the memory that a step with `size` images needs, in bytes.

    It is the size of the weights and the outputs of all layers, and of the gradients of both.

    The outputs are measured while one image passes through the network without gradients, which needs little memory.
    """
    network, outputs = state.learner.network, [0]

    def count(layer: nn.Module, inputs: object, output: object) -> None:
        outputs[0] += output.nbytes if isinstance(output, Tensor) else 0

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if not [*layer.children()]]
    with torch.no_grad():
        network.eval()(leg.loader.first_views(1).to(network.mean.device))
    for hook in hooks:
        hook.remove()
    state.learner.layers.train()
    return 2 * tensor_bytes(network.state_dict()) + 2 * size * outputs[0]


def measure_steps(leg: Leg, state: State, sizes: Sequence[int]) -> tuple[Line, Line]:
    """Return the seconds and the peak memory of a step as functions of its number of images.

    A size is left out if too few of its images can be read.
    """
    seconds, peaks = [], []
    leg = with_tiny_rate(leg)
    loaded = (next(sample_loader(leg.loader, size).batches(0)) for size in sizes)
    batches = {len(batch): batch for batch in loaded if len(batch) >= least_images(leg)}
    for batch in batches.values():
        call = partial(step, leg, state, SingleProcess(), batch, 0.0)
        with torch.random.fork_rng(devices=[]):  # steps set the random state
            peaks.append(float(peak_of(call, state.runtime.device)))
            seconds.append(median_seconds(call, LIMIT))
    return line_through([*batches], seconds), line_through([*batches], peaks)


def with_tiny_rate(leg: Leg) -> Leg:
    """Return the leg with a tiny learning rate. With its full rate, steps of one image may make the weights diverge."""
    schedule = replace(leg.stage.descent[1], rate=TINY_RATE)
    return replace(leg, stage=replace(leg.stage, schedule=schedule))


def line_through(sizes: Sequence[int], values: Sequence[float]) -> Line:
    """Return the least-squares line through measurements. It neither falls nor begins below 0."""
    if len(sizes) == 1:
        return Line(0.0, values[0] / sizes[0])
    slope, constant = np.polyfit(sizes, values, 1).tolist()
    return Line(max(0.0, constant), slope) if slope > 0 else Line(max(values), 0.0)


def estimate_stage(leg: Leg, cost: LegCost | None, job: "Job") -> StageEstimate:
    """Return the estimate of a stage. If it has `minutes`, its number of epochs is estimated as well."""
    images, solves = len(leg.loader.dataset), leg.stage.kind == "solve"
    sizes = {split: len(job.held_out[split]) for split in leg.held_out}
    watched = sum(sizes[split] for split in leg.watched_splits)
    epochs, features = leg.stage.epochs, images if solves else 0
    if cost is None:
        return StageEstimate(leg.name, epochs, leg.steps, features, None)
    epoch = leg.batches * cost.step + (watched + (images if leg.measures_norms else 0)) * cost.scoring
    if leg.stage.minutes and epochs_key(leg) not in job.resolved:
        epochs = epochs_within(60 * leg.stage.minutes - cost.opening, epoch)
    scored = sum(sizes.values()) - watched + (watched if leg.stage.keep_start else 0)
    work = (images + watched) * cost.scoring if solves else cost.opening + epochs * epoch
    return StageEstimate(leg.name, epochs, epochs * leg.batches, features, work + scored * cost.scoring)


def disk_of_run(job: "Job", costs: Sequence[LegCost]) -> int:
    """Return the bytes of a run's checkpoints and models. A new checkpoint is written before the oldest is removed."""
    models = [cost.model for cost in costs]
    legs = sum(models) if len(models) > 1 else 0
    return (job.execution.keep + 1) * max(cost.checkpoint for cost in costs) + legs + models[-1]


def features_bytes(leg: Leg, job: "Job") -> int:
    """Return the bytes of the features that a stage keeps in the store, or 0 if the stage is not solved.

    They are those of the training images and of all held-out splits.
    """
    if leg.stage.kind != "solve":
        return 0
    width = linear_layer(leg.make().network.head, leg.name).weight.shape[1]
    images = len(leg.loader.dataset) + sum(len(job.held_out[split]) for split in leg.held_out)
    return images * (width * FLOAT_BYTES + ROW_BYTES)


def tensor_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return the total size of tensors in bytes."""
    return sum(tensor.nbytes for tensor in tensors.values())


def free_disk(folder: Path) -> int | None:
    """Return the free bytes on the disk of a folder, which need not exist yet, or None if they are not known."""
    place = next((path for path in (folder, *folder.resolve().parents) if path.exists()), folder)
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def warnings_of(estimate: Estimate) -> Iterator[str]:
    """Yield a warning if no time was measured, if the run takes over a day, and for each resource that is too small."""
    seconds, memory = estimate.seconds, estimate.memory
    if seconds is None:
        yield (
            "even the smallest step may need more than half of the free memory, so no time was measured; choose a "
            "smaller network or smaller images"
        )
    if seconds is not None and seconds > DAY:
        yield f"the run takes {duration_text(seconds)}, which is more than a day"
    for what, need, fix in (
        ("memory", memory, "choose a smaller --batch or --memory, or divide each step with --micro-batches"),
        ("disk space for its folder", estimate.disk, "free some space, or choose another --out"),
        ("disk space for features", estimate.store, "free some space, or choose another --store"),
    ):
        if need.needed is not None and need.available is not None and need.needed > need.available:
            available = f"only {size_text(need.available)} is available"
            yield f"the run needs {size_text(need.needed)} of {what}, but {available}; {fix}"
