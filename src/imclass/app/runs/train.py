"""Training runs. A run is first checked and prepared. Then an iterator performs it and yields events."""

import contextlib
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch.nn import functional

from imclass.app.runs.beginning import (
    begin_first,
    classes_to_grow,
    contents_with,
    open_init,
)
from imclass.app.runs.choices import choice_warnings
from imclass.app.runs.directory import Plan, Run
from imclass.app.runs.epochs import check_length, resolve_epochs, with_epochs
from imclass.app.runs.estimate import Estimate, estimate_run
from imclass.app.runs.facts import facts_of, with_facts, with_placeholders
from imclass.app.runs.material import TrainingData, check_resumable, open_training_data
from imclass.app.runs.settle import choose_runtime, configured_runtime
from imclass.app.runs.signals import Acknowledge, listen_for_signals
from imclass.app.runs.watchers.curves import Curves
from imclass.app.runs.watchers.expendable import OptionalConsumer, note_failure
from imclass.app.runs.watchers.log import Log
from imclass.app.runs.watchers.pictures import PICTURES, Pictures
from imclass.app.runs.watchers.scores import Scores
from imclass.app.runs.watchers.tensorboard import TensorBoard
from imclass.core import runtime
from imclass.core.codec import from_json, to_json
from imclass.core.config import Execution, Training
from imclass.core.contracts import Dataset, Evaluation, Watch
from imclass.core.errors import Interrupted, UserError
from imclass.core.model_file import Provenance
from imclass.evaluation.leaks import SiftedSplit, mark_trained
from imclass.evaluation.measures.growth import with_old_classes
from imclass.evaluation.score import ScoredChunk, describe_refusal, evaluate, evaluate_scored
from imclass.models.classifier import NetworkClassifier, networks
from imclass.models.layers.heads import linear_layer
from imclass.models.rates import layer_rates
from imclass.models.views.batches import views_per_batch
from imclass.store.context import Context, pixels_in
from imclass.training.checkpoint import Checkpoint, Checkpoints
from imclass.training.events import Consumer, Event, FeatureBatch, NonFinite, Saved, StepEnd
from imclass.training.keeper import Keeper
from imclass.training.kinds import kind_tables
from imclass.training.loop import train
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Embed, Leg, SplitFeatures, Splits, SplitScorer, plan, resolve_models
from imclass.training.state import State

DEFAULT_EXECUTION = Execution()
MAX_VIEWS = 256  # per batch; on a CPU, smaller batches of large views are as fast, and let signals be handled sooner


@dataclass(frozen=True)
class Job:
    """A run that has passed all checks and is ready to begin or to be resumed."""

    run: Run
    config: Training
    execution: Execution
    legs: tuple[Leg, ...]
    runtime: runtime.Runtime
    checkpoint: Checkpoint | None
    held_out: Mapping[str, Dataset]  # the splits that are scored
    resolved: Mapping[str, int]  # the number of epochs of stages with `minutes`, by config key
    notes: tuple[str, ...]  # for the user, printed before training

    @property
    def steps(self) -> int:
        """Return the number of steps in the run."""
        return sum(leg.steps for leg in self.legs)

    @property
    def record(self) -> dict[str, Any]:
        """Return the configuration as JSON, as a dry run prints it."""
        return {"training": to_json(self.config), "execution": to_json(self.execution)}

    def estimate(self) -> Estimate:
        """Return an estimate of the time, memory and disk space that the run needs, from a few small steps."""
        return estimate_run(self, partial(score_images, execution=self.execution))

    def state(self) -> State:
        """Return the state to begin or resume from."""
        return State(self.runtime, self.config.seed, self.checkpoint)

    def keeper(self, asked_to_stop: Callable[[], bool] = lambda: False) -> Keeper:
        """Return the writer of the run's checkpoints and models."""
        how = self.execution
        checkpoints = self.run.checkpoints(how.keep)
        return Keeper(self.run.folder, len(self.legs), checkpoints, how.save_every, how.save_steps, asked_to_stop)

    def pictures(self) -> Pictures:
        """Return the writer of the pictures for the report."""
        return Pictures(self.run.folder, self.legs[-1], self.held_out)

    def optional_consumers(self, keeper: Keeper) -> list[Consumer]:
        """Return the writers of scores and pictures, whose failures do not end training."""
        consumers: list[Consumer] = [
            OptionalConsumer("saving the scores", lambda: Scores(keeper, self.legs, self.held_out, self.config))
        ]
        if self.execution.pictures:
            consumers.append(OptionalConsumer("saving the pictures", self.pictures))
        return consumers


def prepare(
    config: Training,
    run: Run,
    context: Context,
    execution: Execution = DEFAULT_EXECUTION,
    dry: bool = False,
    given: Collection[str] = (),
    preset: "Measured | None" = None,
    writes: bool = True,
) -> Job:
    """Check a run, and prepare it to begin or to be resumed. Raise `UserError` if anything is invalid.

    If `dry` is true, nothing is written, downloaded, or computed from the training images. If `writes` is false, only
    the run's folder is not written. `given` contains the config keys that the user specified. The values of other keys
    may be adapted to the data. `preset` contains the runtime and the numbers of epochs of a new run; by
    default they are measured.
    """
    check_length(config, given)
    context = replace(context, max_pixels=pixels_in(config.max_megapixels))
    run, source = replace(run, kinds=kind_tables(context)), open_init(config, context, dry)
    if source is not None:
        config = replace(config, init=source.name, init_digest=source.digest)
    config, data = open_training_data(config, given, context, classes_to_grow(config, source))
    inside = run.location_notes(data.train)

    config = resolve_models(config, context)
    how = config.stages[0].begin
    ancestor = source.ancestor if source and how != "fresh" else None  # "fresh" uses none of the source's weights
    trained = Provenance(data=data.facts, recipe=to_json(config), init=ancestor)
    seen = contents_with(data.train, source, how)
    sifted = {split: mark_trained(dataset, seen) for split, dataset in data.held_out.items()}
    score = scorer(sifted, execution, config.balance != "none", data.facts.cut.old)
    splits = Splits(data.train, tuple(data.held_out), seen)
    legs = plan(config, splits, trained, execution, context, score)
    begun = run.plan(config, execution, networks(context)[config.model.network].row, data.facts, *counts_of(data))
    check_resumable(run, data.facts)
    checkpoint, problems = run.checkpoints(execution.keep).newest()
    measured = Measured(configured_runtime(config), begun.resolved or {})
    if dry:
        legs, init_notes = begin_first(with_placeholders(legs), source, data.unseen)
    else:
        facts = begun.facts if begun.facts is not None else facts_of(legs, source)
        legs, init_notes = begin_first(with_facts(legs, facts), source, data.unseen)
        measured = measure_choices(config, begun, checkpoint, legs, data.held_out, execution, preset)
        if writes:
            run.begin(begun, measured.runtime, facts, measured.resolved)
    legs = with_epochs(legs, measured.resolved)
    beginning = () if run.is_finished or checkpoint else (*choice_warnings(config, legs), *init_notes)
    notes = (*data.notes, *beginning, *inside, *problems, *measured.notes)
    return Job(run, config, execution, legs, measured.runtime, checkpoint, data.held_out, measured.resolved, notes)


@dataclass(frozen=True)
class Measured:
    """The choices that a run makes by measuring when it begins: its runtime, and epochs for stages with `minutes`."""

    runtime: runtime.Runtime
    resolved: Mapping[str, int]
    notes: tuple[str, ...] = ()  # for the user


def measure_choices(
    config: Training,
    begun: Plan,
    checkpoint: Checkpoint | None,
    legs: Sequence[Leg],
    held_out: Mapping[str, Dataset],
    execution: Execution,
    preset: Measured | None,
) -> Measured:
    """Return the runtime and the numbers of epochs that the run has recorded, or else those of `preset`.

    If there are neither, measure them.
    """
    first = legs[0].make()
    layer_rates(first.network, legs[0].stage.rates).require_gradients()  # the probe times only what is trained
    recorded = from_json(runtime.Runtime, checkpoint.record["runtime"]) if checkpoint else begun.runtime
    recorded = recorded or (preset.runtime if preset else None)
    resolved = preset.resolved if preset and begun.resolved is None else begun.resolved
    used, tried = choose_runtime(config, recorded, legs[0])
    if resolved is not None:
        return Measured(used, resolved, tried)
    resolved, timed = resolve_epochs(legs, used, held_out, partial(score_images, execution=execution))
    return Measured(used, resolved, (*tried, *timed))


def scorer(
    held_out: Mapping[str, SiftedSplit], execution: Execution, balanced: bool, old: Sequence[str] = ()
) -> SplitScorer:
    """Return a function that scores a split, and counts the scored images that the weights were trained on.

    If `balanced` is true, the main measure is the balanced accuracy. `old` contains the classes that the model had
    before it grew.
    """

    def score(trained: NetworkClassifier, split: str, embed: Embed | None, watch: Watch) -> Evaluation:
        part = held_out[split]
        if embed is None:
            found = score_images(trained, part.dataset, execution, watch)
        else:
            found = score_features(trained, part.dataset, embed(part.dataset, watch), execution.strict)
        found = part.with_counts(found)
        found = with_old_classes(found, old)
        return replace(found, main="balanced") if balanced else found

    return score


def score_images(
    trained: NetworkClassifier, dataset: Dataset, execution: Execution, watch: Watch | None = None
) -> Evaluation:
    """Score all images of a data set in the same way as training does, and return the evaluation."""
    on_cpu = trained.network.mean.device.type == "cpu"
    batch = min(MAX_VIEWS, views_per_batch(trained.preprocess)) if on_cpu else MAX_VIEWS
    workers, strict = execution.workers, execution.strict
    return evaluate(trained, dataset, batch=batch, workers=workers, strict=strict, watch=watch)


def score_features(trained: NetworkClassifier, dataset: Dataset, split: SplitFeatures, strict: bool) -> Evaluation:
    """Apply the last layer of a network to the features of all images of a data set, and return the evaluation."""
    layer = linear_layer(trained.network.head, trained.name)
    weights, biases = layer.weight.detach().cpu().flatten(1), layer.get_parameter("bias").detach().cpu()
    scores = functional.linear(torch.from_numpy(split.features).view(-1, weights.shape[1]), weights, biases)
    return evaluate_scored(trained, dataset, ScoredChunk(split.kept, [scores.numpy()], [*split.refused]), strict)


def perform(
    job: Job, consumers: Sequence[Consumer] = (), acknowledge: Acknowledge | None = None
) -> Generator[Event, None, None]:
    """Train, and yield each event after all consumers have seen it.

    The consumers are the writers of the run's files and the given `consumers`. A signal makes the run save and stop.
    The signal handler calls `acknowledge` at once with a line for the user.
    """
    if job.run.is_finished:
        complete_pictures(job)
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(job.run.hold_lock())
        keeper, state = job.keeper(), job.state()
        stop = stack.enter_context(listen_for_signals(acknowledge, lambda: last_checkpoint_note(keeper.checkpoints)))
        keeper.asked_to_stop = stop.is_set
        runtime.apply_runtime(job.runtime)
        job.run.remove_partial_files()
        job.run.truncate_log(job.checkpoint)
        log = Log(job.run)
        keeper.before_save = log.flush
        watching: list[Consumer] = [log, *job.optional_consumers(keeper)]
        watching += [OptionalConsumer("writing TensorBoard's log", lambda: TensorBoard(job.run, state, job.legs))]
        if any(leg.stage.kind == "descend" for leg in job.legs):  # a solved leg's single epoch makes no curve
            watching.append(OptionalConsumer("drawing curves.png", lambda: Curves(job.run)))
        watching += consumers
        for consumer in watching:
            stack.callback(consumer.close)
        last: Event | None = None
        for last in train(state, job.legs, SingleProcess(), keeper):
            if isinstance(last, StepEnd):
                stop.started = True
            for consumer in watching:
                consumer.see(last)
            if job.execution.strict and isinstance(last, StepEnd | FeatureBatch) and last.refused:
                bad = describe_refusal(last.refused[0])
                raise UserError(f"refused: {bad}; fix or remove the file, or drop --strict")
            yield last
        if not keeper.stopped:
            if not job.execution.keep_checkpoints:
                keeper.checkpoints.clear()
            if stop.is_set():
                raise Interrupted(f"the run is finished: {job.run.model}")
        elif not isinstance(last, NonFinite):
            problem = last.problem if isinstance(last, Saved) else ""
            raise Interrupted(f"stopped at step {state.at.step:,}; {f'not saved: {problem}' if problem else 'saved'}")


def complete_pictures(job: Job) -> None:
    """Write the pictures of a finished run if the process was killed before writing them."""
    if not job.execution.pictures or (job.run.folder / PICTURES).is_dir():
        return
    try:
        job.pictures().write(job.keeper().model_of(job.legs[-1]).parent)
    except Exception as error:  # pictures are optional, so no failure may end the command
        note_failure("saving the pictures failed", error, "the report will have no pictures")


def counts_of(data: TrainingData) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Return each split's number of images per class, and each split's total number of images."""
    splits = {"train": data.train, **data.held_out}
    counts = {name: class_counts(split).tolist() for name, split in splits.items()}
    return counts, {name: len(split) for name, split in splits.items()}


def class_counts(dataset: Dataset) -> Int64[np.ndarray, "K"]:
    """Return the number of images in each class."""
    return dataset.targets.counts(len(dataset.classes))


def last_checkpoint_note(checkpoints: Checkpoints) -> str:
    """Return a note that names the last checkpoint, or "" if there is none."""
    names = checkpoints.names()
    return f"the last checkpoint is {names[-1]}" if names else ""
