"""Training as an iterator of events: the loop yields what happened; progress, logs, plots and users consume it."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

from imclass.core.codec import from_json, to_json
from imclass.core.config import Execution, Position, Stage, Training
from imclass.core.contracts import Evaluation
from imclass.core.errors import Interrupted
from imclass.core.runtime import Runtime
from imclass.data.loader import Batch, Loader
from imclass.data.subset import VALIDATION
from imclass.models.classifier import NetworkClassifier
from imclass.models.rates import LayerRates, layer_rates
from imclass.training import objective, optimiser_state
from imclass.training.checkpoint import Checkpoint, Checkpoints
from imclass.training.events import At, EpochEnd, EpochStart, Evaluated, Event, NonFinite, Saved, StepEnd, summary

SUMS = ("loss", "auxiliary", "correct", "images", "refused")  # of the running epoch

Report: TypeAlias = Callable[[int, int], None]  # of how many images are scored, and how many there are


@dataclass(frozen=True)
class Task:
    """All that a run needs: what to train, from what, how to look at it, and where to keep it."""

    training: Training
    classifier: NetworkClassifier
    loaders: tuple[Loader, ...]  # one a stage
    held_out: tuple[str, ...]  # the splits that are scored
    score: Callable[[NetworkClassifier, str, Report], Evaluation]  # of a split, with a word after each batch
    checkpoints: Checkpoints
    runtime: Runtime
    execution: Execution = Execution()
    asked_to_stop: Callable[[], bool] = lambda: False

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return sum(stage.epochs for stage in self.training.stages)

    @property
    def watched(self) -> tuple[str, ...]:
        """The splits scored after each epoch: validation, which chooses the weights, else all there are."""
        return (VALIDATION,) if VALIDATION in self.held_out else self.held_out


@dataclass
class State:
    """All that changes while training; `tensors` and `record` together are a checkpoint."""

    task: Task
    optimiser: Optimizer
    layers: LayerRates
    at: At = At()
    totals: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SUMS, 0.0))
    history: list[float] = field(default_factory=list)  # validation accuracies of the present stage
    best: dict[str, Tensor] = field(default_factory=dict)  # the model's tensors when validation was best
    best_top1: float = -1.0
    metrics: dict[str, dict[str, int | float]] = field(default_factory=dict)  # of the weights to keep so far, by split
    saved: float = field(default_factory=time.monotonic)

    @property
    def stage(self) -> Stage:
        return self.task.training.stages[self.at.stage]

    def tensors(self) -> dict[str, Tensor]:
        """Model, optimiser and best model, by name."""
        live = objective.tensors(self.task.classifier.network, self.optimiser)
        return live | {f"best.{name}": tensor for name, tensor in self.best.items()}

    def record(self) -> dict[str, Any]:
        """Everything else, as JSON."""
        return {
            "at": to_json(self.at),
            "totals": self.totals,
            "history": self.history,
            "best_top1": self.best_top1,
            "metrics": self.metrics,
            "runtime": to_json(self.task.runtime),
            "seed": self.task.training.seed,
            "model": to_json(replace(self.task.classifier.file_header, chosen=f"step {self.at.step:,}")),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stand where `checkpoint` stood."""
        record, network = checkpoint.record, self.task.classifier.network
        self.at, self.totals = from_json(At, record["at"]), dict.fromkeys(SUMS, 0.0) | record["totals"]
        self.history, self.best_top1 = list(record["history"]), record["best_top1"]
        self.metrics = dict(record["metrics"])
        network.load_state_dict(prefixed(checkpoint.tensors, "model."))
        self.best = prefixed(checkpoint.tensors, "best.")
        stage = self.task.training.stages[min(self.at.stage, last_stage(self.task))]
        self.optimiser, self.layers = learners(self.task, stage)
        optimiser_state.restore(network, self.optimiser, checkpoint.tensors)

    def rewind(self, tensors: Mapping[str, Tensor]) -> None:
        """Model and optimiser as they were when `tensors` were taken."""
        network = self.task.classifier.network
        network.load_state_dict(prefixed(tensors, "model."))
        optimiser_state.restore(network, self.optimiser, tensors)


def last_stage(task: Task) -> int:
    """The index of the last stage."""
    return len(task.training.stages) - 1


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def start(task: Task, checkpoint: Checkpoint | None = None) -> State:
    """A fresh state, or the one that `checkpoint` holds."""
    state = State(task, *learners(task, task.training.stages[0]))
    if checkpoint is not None:
        state.restore(checkpoint)
    return state


def learners(task: Task, stage: Stage) -> tuple[Optimizer, LayerRates]:
    """Return the optimiser of a stage, and the rates of its layers; frozen ones have no gradient from now on."""
    layers = layer_rates(task.classifier.network, stage.rates)
    layers.require_gradients()
    return optimiser_state.build(task.classifier.network, stage.optimiser, layers.factors), layers


def steps(state: State) -> Iterator[Event]:
    """Train from wherever `state` stands to the end of the last stage. Stopping to iterate stops training."""
    task = state.task
    while state.at.stage <= last_stage(task):
        loader = task.loaders[state.at.stage]
        yield EpochStart(state.at, task.epochs, len(loader))
        began = time.monotonic()
        for batch in loader.batches(state.at.epoch, skip=state.at.batch):  # follows (seed, epoch, sample), nothing else
            event = step(state, batch, began)
            yield event
            if isinstance(event, NonFinite) and event.action == "stop":
                return
            if task.asked_to_stop():  # a signal only sets the flag
                yield save(state)
                return
            if time.monotonic() - state.saved >= task.execution.save_every:
                yield save(state)
            began = time.monotonic()
        for split in task.watched:
            result = score(state, split)
            if result is None:
                yield save(state)
                return
            yield Evaluated(state.at, result, split, best=note(state, split, result))
        yield finish_epoch(state)
        yield save(state)
        if task.asked_to_stop():
            return


def step(state: State, batch: Batch, began: float) -> StepEnd | NonFinite:
    """Learn from one batch, or say what in it was not finite."""
    task, network, stage = state.task, state.task.classifier.network, state.stage
    skipping = task.training.nonfinite == "skip"
    before = {k: v.clone() for k, v in objective.tensors(network, state.optimiser).items()} if skipping else {}
    length = len(task.loaders[state.at.stage]) * stage.epochs
    lr = stage.schedule.rate_at(Position(stage_step(state), state.at.samples, length, tuple(state.history)))
    loss, correct, problem = objective.Loss(), 0, None
    if len(batch.labels):
        state.layers.train()
        images, labels = batch.images.to(task.runtime.device), batch.labels.to(task.runtime.device)
        loss, correct = objective.backward(
            network, images, labels, stage.micro_batches, task.training.seed, state.at.step, task.runtime.arithmetic
        )
        problem = update(state, loss.total, lr)
    taken = 0 if problem else len(batch.labels)
    state.at = replace(state.at, batch=state.at.batch + 1, step=state.at.step + 1, samples=state.at.samples + taken)
    state.totals["refused"] += len(batch.refused)
    if problem:
        if skipping:
            state.rewind(before)
        names = tuple(task.loaders[state.at.stage].dataset.name(int(i)) for i in batch.positions)
        return NonFinite(state.at, problem, names, task.training.nonfinite)
    sums = {"loss": loss.main * taken, "auxiliary": loss.auxiliary * taken, "correct": correct, "images": taken}
    for key, value in sums.items():
        state.totals[key] += value
    seconds = time.monotonic() - began
    return StepEnd(state.at, loss.main, correct, taken, lr, batch.waited, seconds, batch.refused, loss.auxiliary)


def update(state: State, loss: float, lr: float) -> str | None:
    """Step the optimiser; or, where loss, gradient or what would come of them is not finite, say which it is."""
    network, optimiser = state.task.classifier.network, state.optimiser
    if not math.isfinite(loss):
        return "the loss"
    # names are asked for only when something is wrong: walking a deep network for them takes milliseconds a step
    if not objective.finite(p.grad for p in optimiser_state.parameters(optimiser) if p.grad is not None):
        return objective.first_nonfinite(objective.gradients(network))
    optimiser_state.set_rate(optimiser, lr)
    optimiser.step()
    if not objective.finite([*optimiser_state.live(optimiser), *network.buffers()]):
        return objective.first_nonfinite(objective.tensors(network, optimiser).items())
    return None


def stage_step(state: State) -> int:
    """Steps done in the present stage."""
    stages, loaders = state.task.training.stages, state.task.loaders
    before = sum(stages[i].epochs * len(loaders[i]) for i in range(state.at.stage))
    return state.at.step - before


def note(state: State, split: str, result: Evaluation) -> bool:
    """Remember a result; true where it is the best on validation so far. Other splits choose nothing."""
    if split != VALIDATION:
        state.metrics[split] = summary(result)
        return False
    state.history.append(result.top1)
    better = result.top1 > state.best_top1
    if better:
        state.best_top1 = result.top1
        state.metrics[split] = summary(result)
        state.best = {k: v.detach().cpu().clone() for k, v in state.task.classifier.network.state_dict().items()}
    return better


def finish_epoch(state: State) -> EpochEnd:
    """Close the epoch's sums and stand at the beginning of the next epoch, or of the next stage."""
    totals, stages = state.totals, state.task.training.stages
    images = max(1.0, totals["images"])
    loss, top1, auxiliary = (totals[key] / images for key in ("loss", "correct", "auxiliary"))
    event = EpochEnd(state.at, loss, top1, int(totals["images"]), int(totals["refused"]), auxiliary)
    state.at = replace(state.at, epoch=state.at.epoch + 1, batch=0)
    state.totals = dict.fromkeys(totals, 0.0)
    if state.at.epoch == sum(stage.epochs for stage in stages[: state.at.stage + 1]):
        state.at = replace(state.at, stage=state.at.stage + 1, samples=0)
        state.history = []
        if state.at.stage < len(stages):
            state.optimiser, state.layers = learners(state.task, state.stage)
    return event


def save(state: State) -> Saved:
    """A durable checkpoint; where the disk refuses, the older ones stay and training goes on."""
    name = f"step-{state.at.step:010d}" + (f"-epoch-{state.at.epoch:05d}" if state.at.batch == 0 else "")
    path, tensors = state.task.checkpoints.folder / name, state.tensors()
    broken = objective.first_nonfinite(tensors.items())
    problem = f"{broken} is not finite" if broken else ""
    try:
        if not problem:
            state.task.checkpoints.save(name, tensors, state.record())
    except OSError as error:
        problem = str(error)
    state.saved = time.monotonic()
    return Saved(state.at, path, problem)


def score(state: State, split: str) -> Evaluation | None:
    """Return the scores of a split; `None` where the user asks to stop meanwhile."""
    task = state.task

    def go_on(done: int, total: int) -> None:
        if done < total and task.asked_to_stop():
            raise Interrupted

    try:
        return task.score(task.classifier, split, go_on)
    except Interrupted:
        return None


def conclude(state: State) -> Iterator[Evaluated]:
    """Take the weights to keep, and score each split that has not been scored with them; nothing before the end."""
    task = state.task
    if state.at.stage <= last_stage(task):
        return
    task.classifier.network.load_state_dict(chosen(state)[0])
    for split in task.held_out:
        if split not in state.metrics:
            result = score(state, split)
            if result is None:
                return
            state.metrics[split] = summary(result)
            yield Evaluated(state.at, result, split)


def concluded(state: State) -> bool:
    """Whether the run has come to its end, its scores included."""
    return state.at.stage > last_stage(state.task) and set(state.task.held_out) <= set(state.metrics)


def chosen(state: State) -> tuple[dict[str, Tensor], str]:
    """The weights to keep, and which they are: the best on validation where that exists, else the last."""
    if state.best:
        return state.best, f"best on validation ({100 * state.best_top1:.2f} %)"
    return dict(state.task.classifier.network.state_dict()), "last step"
