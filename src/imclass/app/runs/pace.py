"""Measurements of how long the epochs of a leg take on this machine. Nothing that training uses later is changed."""

import copy
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from imclass.app.machine.hardware import read_processor
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.runtime import Runtime, apply_runtime
from imclass.data.loader import Batch, Loader
from imclass.data.subset import Subset
from imclass.models.arithmetic.precision import time_call
from imclass.models.classifier import NetworkClassifier
from imclass.models.views.batches import views_per_batch
from imclass.training.loop import step
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Leg
from imclass.training.state import State

REPEATS = 3
MAX_SECONDS = 10.0  # no further repetition begins after this time

ScoreImages = Callable[[NetworkClassifier, Dataset], object]  # scores all images of a data set


@dataclass(frozen=True)
class Pace:
    """How long the work of a leg takes, in seconds."""

    opening: float  # once, to decode the images and keep them in memory
    step: float  # per step, including loading its images
    scoring: float  # per epoch, to score the watched splits and, if necessary, to measure batch norms

    def epoch(self, leg: Leg) -> float:
        """Return the duration of an epoch, including scoring."""
        return leg.batches * self.step + self.scoring


def measure_pace(leg: Leg, used: Runtime, watched: Sequence[Dataset], score: ScoreImages) -> Pace:
    """Measure how long steps of a leg take on a copy of its network, and how long it takes to score `watched`."""
    apply_runtime(used)
    batch, opening, loading = load_sample(leg, leg.stage.batch)
    with torch.random.fork_rng(devices=[]):  # steps set the random state
        state = throwaway_state(leg, used)
        call = partial(step, leg, state, SingleProcess(), batch, 0.0)
        call()
        computing = median_seconds(call)
        passes = [*watched, leg.loader.dataset] if leg.measures_norms else watched
        scoring = sum(scoring_seconds(state.learner.classifier, dataset, score) for dataset in passes)
    return Pace(opening, combine_seconds(leg, loading, computing, used), scoring)


def throwaway_state(leg: Leg, used: Runtime) -> State:
    """Return a state that has entered the leg with a different network from the one that training will use."""
    state, classifier = State(used, leg.seed), leg.make()
    if classifier is leg.premade:  # training will use this one
        classifier = classifier.with_network(copy.deepcopy(classifier.network))
    state.enter(replace(leg, premade=classifier))
    return state


def load_sample(leg: Leg, count: int) -> tuple[Batch, float, float]:
    """Return a batch of `count` evenly spaced training images, and how many seconds two tasks take.

    The first task is to open all images. It takes 0 seconds unless images are kept in memory. The second task is to
    load the batch. Raise `UserError` if too few images of the batch can be read for a step.
    """
    images = len(leg.loader.dataset)
    sample = sample_loader(leg.loader, count)
    first, again = (time_call(lambda epoch=epoch: list(sample.batches(epoch))) for epoch in (0, 1))  # type: ignore[misc]
    batch = next(sample.batches(0))
    if len(batch) < least_images(leg):
        found, path = f"{len(batch) or 'none'} of {len(sample.dataset)} images", leg.loader.dataset.origin.path
        raise UserError(f"{found} from {path} can be read; run: imclass data check {path}")
    opening = max(0.0, first - again) * images / len(sample.dataset) if leg.loader.in_memory else 0.0
    return batch, opening, again


def least_images(leg: Leg) -> int:
    """Return the smallest number of images that a step can have."""
    return 2 if leg.pairs else 1


def sample_loader(loader: Loader, count: int) -> Loader:
    """Return a loader of `count` evenly spaced images, which keeps images in memory if `loader` does."""
    memory = loader.memory_mib if loader.in_memory else 0
    return replace(loader, dataset=spaced_images(loader.dataset, count), batch=count, memory_mib=memory, balanced=False)


def spaced_images(dataset: Dataset, count: int) -> Dataset:
    """Return at most `count` images of a data set, evenly spaced, so that they belong to many classes."""
    positions = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(np.int64)
    return Subset(dataset, positions, dataset.split, dataset.splits)


def scoring_seconds(classifier: NetworkClassifier, dataset: Dataset, score: ScoreImages) -> float:
    """Return how long it takes to score a data set, extrapolated from a part of it."""
    sample = spaced_images(dataset, 2 * views_per_batch(classifier.preprocess))
    score(classifier, sample)
    return median_seconds(lambda: score(classifier, sample)) * len(dataset) / len(sample)


def combine_seconds(leg: Leg, loading: float, computing: float, used: Runtime) -> float:
    """Return the duration of a step from the time to load its images and the time to compute it.

    If threads decode the images while the previous step is computed, this is the longer of the two times, but at least
    the time that the machine's cores need for all of the work.
    """
    workers, cores = leg.loader.workers, read_processor().usable
    if workers == 0 or leg.loader.in_memory:
        return loading + computing
    threads = used.threads if used.device == "cpu" else 1
    busy = loading * min(workers, cores) + computing * min(threads, cores)
    return max(loading, computing, busy / cores)


def median_seconds(call: Callable[[], object], limit: float = MAX_SECONDS) -> float:
    """Return the median duration of a few calls. No further call begins after `limit` seconds.

    The caller makes one call beforehand, which prepares kernels.
    """
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < limit:
        seconds.append(time_call(call))
    return statistics.median(seconds)
