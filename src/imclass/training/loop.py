"""Training as an iterator of events, for progress displays, logs, plots and users' own programs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeVar

from imclass.core.contracts import Evaluation, Watch
from imclass.core.errors import Interrupted
from imclass.data.loader import Batch
from imclass.data.threads import map_in_order
from imclass.training.events import EpochStart, Evaluated, Event, NonFinite, StepEnd, StepStart
from imclass.training.keeper import Keeper
from imclass.training.parallel import Group
from imclass.training.plan import Leg
from imclass.training.solve import embed_split, solve
from imclass.training.state import State

T = TypeVar("T")


def train(state: State, legs: Sequence[Leg], group: Group, keeper: Keeper) -> Iterator[Event]:
    """Train from the position of `state` to the end of the last leg, and yield events.

    If the caller stops iterating, training stops. Files that have already been saved are kept.
    """
    for leg in legs[state.at.stage :]:
        state.enter(leg)  # make the leg's network, optimiser, history and best weights, or restore them on resume
        yield from train_epochs(leg, state, group, keeper)
        if not keeper.stopped:
            yield from conclude(leg, state, group, keeper)
        if keeper.stopped:
            return
        leg.loader.forget()  # free the memory of this leg's cached views before the next leg caches its own
        yield keeper.finish(leg, state)


def train_epochs(leg: Leg, state: State, group: Group, keeper: Keeper) -> Iterator[Event]:
    """Train a leg, and yield the events of its steps and epochs."""
    if leg.stage.keep_start and state.at == state.first and not state.history:
        yield from score_watched_splits(leg, state, group, keeper)
    while not (keeper.is_stopped() or state.is_done(leg)):
        yield EpochStart(state.at, leg.last_epoch, leg.batches, leg.counted)
        yield from (solve if leg.stage.kind == "solve" else descend)(leg, state, group, keeper)
        if keeper.is_stopped():
            return
        yield from score_watched_splits(leg, state, group, keeper)
        if keeper.stopped:
            return
        yield state.next_epoch(leg.counted)
        yield keeper.save(leg, state)
        # A finished leg is concluded even if a stop was requested.
        (keeper.stopped,) = group.agree(keeper.asked_to_stop() and not state.is_done(leg))


def descend(leg: Leg, state: State, group: Group, keeper: Keeper) -> Iterator[Event]:
    """Train for one epoch by gradient descent, and yield the events of its steps."""
    began = time.monotonic()
    for batch in remaining_batches(leg, state, group):
        yield StepStart(state.at, leg.stage.descent[1].rate_at(state.position(leg)))
        event = step(leg, state, group, batch, began)
        yield event
        if isinstance(event, NonFinite) and event.action == "stop":
            keeper.stopped = True
            return
        # Every process must call `agree` after every step, so that all of them save or stop at the same step.
        due, stop = group.agree(keeper.is_due(state.at.step), keeper.asked_to_stop())
        if due or stop:
            yield keeper.save(leg, state)
        keeper.stopped = stop
        if stop:
            return
        began = time.monotonic()


def remaining_batches(leg: Leg, state: State, group: Group) -> Iterator[Batch]:
    """Yield the remaining batches of the epoch.

    For a GPU, a thread prepares the next batch in pinned memory while the GPU computes.
    """
    batches = leg.loader.batches(state.at.epoch, skip=state.at.batch, mine=group.local_parts)
    if not state.runtime.device.startswith("cuda"):
        yield from batches
        return
    left = range(state.at.batch, leg.batches)
    with closing(map_in_order(lambda _: pin_images(next(batches)), left, workers=1, ahead=1)) as prepared:
        for _ in left:
            began = time.perf_counter()
            batch = next(prepared)
            yield replace(batch, waited=time.perf_counter() - began)


def pin_images(batch: Batch) -> Batch:
    """Return the batch with its images in pinned memory, from which a GPU copies them without using the CPU."""
    parts = {number: replace(part, images=part.images.pin_memory()) for number, part in batch.parts.items()}
    return replace(batch, parts=parts)


def step(leg: Leg, state: State, group: Group, batch: Batch, began: float) -> StepEnd | NonFinite:
    """Learn from one batch. Return `NonFinite` if the loss, a gradient or an updated weight is not finite."""
    parts, alone = leg.learnable_parts(batch)
    # Each part's summed loss is divided by the step's image count, so that a one-part step equals one in plain PyTorch.
    images = group.total(sum(len(part.targets) for part in parts.values()))
    rate = leg.stage.descent[1].rate_at(state.position(leg))
    # Weights and optimiser state may change before a non-finite value is found, so skipping a step needs copies.
    before = {name: tensor.clone() for name, tensor in state.live_tensors().items()} if leg.skip_nonfinite else {}
    mine = state.learner.gradients(parts, group.local_parts(batch.count), batch.count > 1, images, state.at.step)
    gradients = group.combine(mine)
    problem = state.step(gradients, rate)
    state.count(gradients, 0 if problem else images, group.total(len(batch.refused)))
    if problem and leg.skip_nonfinite:
        state.rewind(before)
    if not problem or leg.skip_nonfinite:
        state.update_average(leg)
    if problem:
        return NonFinite(state.at, problem, leg.names(batch.parts.values()), "skip" if leg.skip_nonfinite else "stop")
    main, total, correct = (gradients.main, gradients.total, gradients.correct) if gradients else (0.0, 0.0, 0)
    seconds = time.monotonic() - began
    return StepEnd(state.at, main, total, correct, images, rate, batch.waited, seconds, batch.refused, alone)


def score_watched_splits(leg: Leg, state: State, group: Group, keeper: Keeper) -> Iterator[Event]:
    """Score the watched splits.

    If a stop is requested while a split is being scored, the scores of that split are discarded and the state is saved.
    The same applies to the statistics of the average's batch norms, which are measured first.
    """
    if not measure_norms(leg, state, group, keeper):
        keeper.stopped = True
        yield keeper.save(leg, state)
        return
    for split in leg.watched_splits:
        result = score_split(leg, state, split, group, keeper)
        if result is None:
            keeper.stopped = True
            yield keeper.save(leg, state)
            return
        best, averaged = state.record_result(split, result), state.average is not None
        yield Evaluated(state.at, result, split, best=best, averaged=averaged)


def conclude(leg: Leg, state: State, group: Group, keeper: Keeper) -> Iterator[Event]:
    """Choose the weights to keep, and score each split that has not been scored with these weights.

    No state is saved here. A run that is stopped here calls this function again when it resumes.
    """
    state.choose()
    for split in leg.held_out:
        if split not in state.metrics:
            result = score_split(leg, state, split, group, keeper)
            if result is None:
                keeper.stopped = True
                return
            state.record_result(split, result)
            yield Evaluated(state.at, result, split, averaged=state.averaged)


def measure_norms(leg: Leg, state: State, group: Group, keeper: Keeper) -> bool:
    """Measure the average's statistics of batch norms if its kind requires it. Return False if a stop was requested."""
    if state.average is None or not leg.measures_norms:
        return True
    work = partial(state.average.measure_norms, leg, state.at.epoch, group)
    return unless_stopped(work, group, keeper) is not None


def score_split(leg: Leg, state: State, split: str, group: Group, keeper: Keeper) -> Evaluation | None:
    """Return the scores of a split, or `None` if a stop was requested before they were complete."""
    # The features of a solved leg are stored, because they are the same for every linear model and in the next run.
    embed = partial(embed_split, leg, state) if leg.stage.kind == "solve" else None
    try:
        return unless_stopped(partial(leg.score, state.scored, split, embed), group, keeper)
    finally:
        state.learner.layers.train()  # scoring leaves the network in evaluation mode


def unless_stopped(work: Callable[[Watch], T], group: Group, keeper: Keeper) -> T | None:
    """Return the result of `work`, or `None` if a stop was requested before it was complete."""
    stop = Interrupted()

    def watch() -> None:
        (asked,) = group.agree(keeper.asked_to_stop())
        if asked:
            raise stop

    try:
        return work(watch)
    except Interrupted as interrupted:
        if interrupted is not stop:  # it comes from a second signal, which asks to stop without saving
            raise
        return None
