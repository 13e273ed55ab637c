"""Training as a run: everything checked and prepared, then performed as an iterator of events."""

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType

from imclass.app.runs.beginning import begin_first, facts_of, open_source, with_means
from imclass.app.runs.curves import Curves
from imclass.app.runs.directory import Run
from imclass.app.runs.expendable import Expendable
from imclass.app.runs.log import Log
from imclass.app.runs.material import doubts, open_training_data
from imclass.app.runs.settle import settle
from imclass.app.runs.tensorboard import TensorBoard
from imclass.core import runtime
from imclass.core.codec import from_json, to_json
from imclass.core.config import Execution, Training
from imclass.core.contracts import Evaluation
from imclass.core.errors import Interrupted, UserError
from imclass.core.model_file import ModelHeader
from imclass.evaluation.score import described, evaluate
from imclass.models.classifier import NetworkClassifier, networks
from imclass.store.context import Context
from imclass.training.checkpoint import Checkpoint
from imclass.training.events import Consumer, Event, NonFinite, Saved, StepEnd
from imclass.training.keeper import Keeper
from imclass.training.kinds import kinds_in
from imclass.training.loop import train
from imclass.training.parallel import Alone
from imclass.training.plan import Leg, Material, Watch, plan, resolve_models
from imclass.training.state import State

DEFAULT = Execution()
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # training saves and stops


@dataclass(frozen=True)
class Job:
    """A run that has passed every check and can begin or go on."""

    run: Run
    config: Training
    execution: Execution
    legs: tuple[Leg, ...]
    runtime: runtime.Runtime
    checkpoint: Checkpoint | None
    notes: tuple[str, ...]  # what a user should know before it begins

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return sum(leg.steps for leg in self.legs)

    def state(self) -> State:
        """Return where the run begins or goes on."""
        return State(self.runtime, self.config.seed, self.checkpoint)

    def keeper(self, asked_to_stop: Callable[[], bool] = lambda: False) -> Keeper:
        """Return what keeps the run's files."""
        kept = self.run.checkpoints(self.execution.keep)
        return Keeper(self.run.folder, len(self.legs), kept, self.execution.save_every, asked_to_stop)


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
    config, data = open_training_data(config, given, context)
    inside = run.inside(data.train)

    def score(trained: NetworkClassifier, split: str, watch: Watch) -> Evaluation:
        held_out = data.held_out[split]
        return evaluate(trained, held_out, workers=execution.workers, strict=execution.strict)

    config = resolve_models(config, context)
    origin = source.origin if source else {}
    header = ModelHeader("", {}, data.train.classes, config.preprocess, to_json(config), data.facts, **origin)
    legs = plan(config, Material(data.train, tuple(data.held_out)), header, execution, context, score)
    begun = run.plan(config, execution, networks(context)[config.model.network].row, data.facts)
    checkpoint, problems = run.checkpoints(execution.keep).newest()
    tried: tuple[str, ...] = ()
    if dry:
        used = runtime.resolve(config.device)
    else:
        facts = begun.facts if begun.facts is not None else facts_of(legs, source)
        legs = with_means(legs, facts)
        first = legs[0].make()
        legs = (replace(legs[0], drawn=first), *legs[1:])
        recorded = from_json(runtime.Runtime, checkpoint.record["runtime"]) if checkpoint else begun.runtime
        used, tried = settle(config, recorded, first, legs[0].loader)
        run.begin(begun, used, facts)
    legs, taken = begin_first(legs, source)
    notes = (*data.notes, *doubts(config, legs), *inside, *problems, *taken, *tried)
    return Job(run, config, execution, legs, used, checkpoint, notes)


def perform(job: Job, consumers: Sequence[Consumer] = ()) -> Iterator[Event]:
    """Iterate over the run's events, showing each to the log, TensorBoard, the curves and the given consumers."""
    if job.run.finished:
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(job.run.locked())
        asked, moving = stack.enter_context(signals())
        runtime.apply(job.runtime)
        keeper, state = job.keeper(asked.is_set), job.state()
        job.run.cut(job.checkpoint)
        watching: list[Consumer] = [Log(job.run)]
        watching += [Expendable("TensorBoard's log", lambda: TensorBoard(job.run, state.at))]
        watching += [Expendable("curves.png", lambda: Curves(job.run)), *consumers]
        for consumer in watching:
            stack.callback(consumer.close)
        last: Event | None = None
        for last in train(state, job.legs, Alone(), keeper):
            if isinstance(last, StepEnd):
                moving.set()
            for consumer in watching:
                consumer.see(last)
            if job.execution.strict and isinstance(last, StepEnd) and last.refused:
                bad = described(last.refused[0])
                raise UserError(f"refused: {bad}; fix or remove the file, or go without --strict")
            yield last
        if not keeper.stopped:
            if not job.execution.keep_checkpoints:
                keeper.checkpoints.clear()
        elif not isinstance(last, NonFinite):
            problem = last.problem if isinstance(last, Saved) else ""
            raise Interrupted(f"stopped at step {state.at.step:,}; {f'not saved: {problem}' if problem else 'saved'}")


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
