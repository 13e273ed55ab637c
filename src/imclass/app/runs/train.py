"""Training as a run: everything checked and prepared, then performed as an iterator of events."""

import contextlib
import inspect
import itertools
import re
import signal
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, get_type_hints

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from imclass.app.load import spelled
from imclass.app.runs.beginning import adopt, begin_first, mean_image_of, open_source, origin_of
from imclass.app.runs.curves import Curves
from imclass.app.runs.directory import Run
from imclass.app.runs.elsewhere import check_fields
from imclass.app.runs.expendable import Expendable
from imclass.app.runs.log import Log
from imclass.app.runs.material import open_training_data
from imclass.app.runs.settle import settle
from imclass.app.runs.tensorboard import TensorBoard
from imclass.core import runtime
from imclass.core.codec import from_json, hints_of, to_json
from imclass.core.config import Execution, Model, Training
from imclass.core.contracts import Evaluation
from imclass.core.errors import Interrupted, UnknownKey, UserError
from imclass.core.override import Words, override, typed
from imclass.core.tables import Found
from imclass.core.text import nearest
from imclass.data.loader import Loader
from imclass.evaluation.score import described, evaluate
from imclass.models.arithmetic import precision
from imclass.models.classifier import NetworkClassifier, create, networks
from imclass.models.rates import layer_rates
from imclass.store.context import Context, find_in, open_context
from imclass.training import loop
from imclass.training.checkpoint import Checkpoint
from imclass.training.events import Consumer, Event, NonFinite, Saved, StepEnd
from imclass.training.kinds import kinds_in

DEFAULT = Execution()
STAGED = re.compile(r"stages\.(\d+)\.(model|preprocess)\.")  # keys of what a stage has for itself
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # training saves and stops


def recipes(context: Context | None = None) -> Found:
    """Every recipe there is, by name."""
    return find_in(context, "imclass.recipes", "RECIPES", "recipe")


def configure(recipe: str | Training, context: Context | None = None, **choices: Any) -> Training:
    """Return a recipe's config; a choice is a parameter of its function, else a dotted key for `overridden`."""
    if isinstance(recipe, Training):
        return overridden(recipe, choices, context)
    make = recipes(context)[recipe]
    hints = get_type_hints(make)
    own = [name for name in choices if name in inspect.signature(make).parameters]
    made = make(**{n: from_json(hints.get(n, Any), typed(object, choices.pop(n), n), f"--{n}") for n in own})
    if not isinstance(made, Training):
        raise UserError(f"the recipe {recipe!r} returns {type(made).__name__} and not a Training; change its function")
    return overridden(made, choices, context)


def overridden(training: Training, changes: Mapping[str, Any], context: Context | None = None) -> Training:
    """Return a config with other values at dotted keys; after "model.", a field of the network's row is one, too.

    Another network begins with its own row. With `init`, the model and the preprocess that are changed are those of the
    model that it names. A stage's own model and preprocess begin as the run's.
    """
    fields, kinds = hints_of(Training), kinds_in(context)
    check_fields(key for key, value in changes.items() if key not in fields or isinstance(value, Words))
    changes = dict(changes)
    if isinstance(init := typed(str, changes.get("init", training.init), "init"), str):
        changes |= {"init": spelled(init)} if "init" in changes else {}
        if spelled(init) != training.init:
            training = replace(training, init=spelled(init), init_digest="")
        training = adopt(training, context or open_context())
    staged = {key: changes.pop(key) for key in [*changes] if STAGED.match(key)}
    model, changes = with_row(training.model, "model", changes, context)
    training = override(replace(training, model=model), changes, kinds)
    stages = list(training.stages)
    for i, field in sorted({(int(m[1]), m[2]) for m in map(STAGED.match, staged) if m and int(m[1]) < len(stages)}):
        begun = getattr(stages[i], field) or getattr(training, field)
        if field == "model":
            begun, staged = with_row(begun, f"stages.{i}.model", staged, context)
        stages[i] = replace(stages[i], **{field: begun})
    return override(replace(training, stages=tuple(stages)), staged, kinds)


def with_row(
    model: Model, prefix: str, changes: Mapping[str, Any], context: Context | None
) -> tuple[Model, dict[str, Any]]:
    """Return the model that the changes under `prefix` begin from, and all changes with fields of its row under "row".

    Another network begins with its own row.
    """
    changed, common = dict(changes), hints_of(Model)
    network = str(typed(str, changed.get(f"{prefix}.network", model.network), f"{prefix}.network"))
    if network != model.network:
        model = replace(model, network=network, row={})
    for key in [key for key in changed if key.startswith(f"{prefix}.")]:
        name = key.removeprefix(f"{prefix}.")
        if name.split(".")[0] in common:
            continue
        hints = hints_of(type(networks(context)[network].row))
        if name not in hints:
            known = [*hints, *common]
            message = f"{network} has no field {name!r}{nearest(name, known)}"
            raise UnknownKey(message, key, [f"{prefix}.{field}" for field in known])
        value = to_json(typed(hints[name], changed.pop(key), key))
        changed[f"{prefix}.row.{name}"] = from_json(hints[name], value, f"--{key.replace('_', '-')}")
    return model, changed


@dataclass(frozen=True)
class Job:
    """A run that has passed every check and can begin or go on."""

    run: Run
    task: loop.Task
    facts: dict[str, Any]  # of the data, for the model file
    checkpoint: Checkpoint | None
    notes: tuple[str, ...]  # what a user should know before it begins


def prepare(
    config: Training,
    run: Run,
    context: Context,
    execution: Execution = DEFAULT,
    dry: bool = False,
    given: Collection[str] = (),
) -> Job:
    """Everything that can go wrong, before the first step: data, classes, sizes, device, directory, checkpoint.

    `dry` writes nothing. `given` are the keys of the config that the user set, where a recipe's value would give way.
    """
    run, source = replace(run, kinds=kinds_in(context)), open_source(config, context)
    if source is not None:
        config = replace(config, init=source.name, init_digest=source.digest)
    config, data = open_training_data(config, given, execution, context)
    inside = run.inside(data.train)
    classifier = create(config.model, data.train.classes, config.preprocess, config.seed, context)
    config = replace(config, model=replace(config.model, row=classifier.row))
    plan = run.plan(config, execution, networks(context)[config.model.network].row, data.facts)
    checkpoint, problems = run.checkpoints(execution.keep).newest()
    if config.model.mean_image:
        image = mean_image_of(source, classifier.network)
        classifier.network.normalise(mean_image(data.loaders[0]) if image is None else image, config.model.std)
    classifier, begun = begin_first(config, classifier, source)
    for stage in reversed(config.stages):  # a wrong pattern is found here, and the first stage's are tried for speed
        layer_rates(classifier.network, stage.rates).require_gradients()
    tried: tuple[str, ...] = ()
    if dry:
        used = runtime.resolve(config.device)
    else:
        recorded = from_json(runtime.Runtime, checkpoint.record["runtime"]) if checkpoint else plan.runtime
        used, tried = settle(config, recorded, classifier, data.loaders[0])
        run.begin(plan, used)
    precision.laid_out(classifier.network, used.arithmetic).to(used.device)

    def score(trained: NetworkClassifier, split: str, report: loop.Report) -> Evaluation:
        held_out = data.held_out[split]
        return evaluate(trained, held_out, workers=execution.workers, report=report, strict=execution.strict)

    kept = run.checkpoints(execution.keep)
    task = loop.Task(config, classifier, data.loaders, tuple(data.held_out), score, kept, used, execution)
    return Job(run, task, data.facts, checkpoint, (*data.notes, *inside, *problems, *begun, *tried))


def mean_image(first: Loader) -> Float[Tensor, "C H W"]:
    """The mean of all training images as the network sees them, in [0, 1]; summed exactly enough in float64."""
    mean = first.kept.images.mean(axis=0, dtype=np.float64) / 255
    return torch.from_numpy(mean.transpose(2, 0, 1)).float()


def perform(job: Job, consumers: Sequence[Consumer] = ()) -> Iterator[Event]:
    """Iterate over the run's events, showing each to the log, TensorBoard, the curves and the given consumers."""
    if job.run.finished:
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(job.run.locked())
        asked, moving = stack.enter_context(signals())
        runtime.apply(job.task.runtime)
        task = replace(job.task, asked_to_stop=asked.is_set)
        job.run.cut(job.checkpoint)
        state = loop.start(task, job.checkpoint)
        watching: list[Consumer] = [Log(job.run)]
        watching += [Expendable("TensorBoard's log", lambda: TensorBoard(job.run, state.at))]
        watching += [Expendable("curves.png", lambda: Curves(job.run)), *consumers]
        for consumer in watching:
            stack.callback(consumer.close)
        last: Event | None = None
        for last in itertools.chain(loop.steps(state), loop.conclude(state)):
            if isinstance(last, StepEnd):
                moving.set()
            for consumer in watching:
                consumer.see(last)
            if task.execution.strict and isinstance(last, StepEnd) and last.refused:
                bad = described(last.refused[0])
                raise UserError(f"refused: {bad}; fix or remove the file, or go without --strict")
            yield last
        if loop.concluded(state):
            finished = finish(job, state)
            if not task.execution.keep_checkpoints:
                task.checkpoints.clear()
            yield finished
        elif not isinstance(last, NonFinite):
            problem = last.problem if isinstance(last, Saved) else ""
            raise Interrupted(f"stopped at step {state.at.step:,}; {f'not saved: {problem}' if problem else 'saved'}")


def finish(job: Job, state: loop.State) -> Saved:
    """Write the model file, with the scores of its weights."""
    job.task.classifier.save(
        job.run.model,
        recipe=to_json(job.task.training),
        data=job.facts,
        metrics={split: state.metrics[split] for split in job.task.held_out},
        chosen=loop.chosen(state)[1],
        versions=runtime.versions(),
        **origin_of(job.task.classifier),
    )
    return Saved(state.at, job.run.model)


@contextlib.contextmanager
def signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Yield two flags: Ctrl-C, SIGTERM and SIGHUP set the first; until the second is set, they end the run at once.

    Before its first step a run has nothing to save, and may be decoding all images. A signal that is ignored already
    stays so: `nohup` and shells that start something in the background ask for it. Outside the main thread signals are
    left alone.
    """
    asked, moving = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked, moving
        return

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        if not moving.is_set():
            raise Interrupted("stopped before the first step")

    heard = [s for s in STOPPING if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, ask) for s in heard}
    try:
        yield asked, moving
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
