"""The state of a run: everything that changes during training, saved in checkpoints and restored from them."""
# Tested in tests/training/test_loop.py

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.config import Position
from imclass.core.contracts import Evaluation
from imclass.core.model_file import SolvedStage, without_prefix
from imclass.core.runtime import Runtime
from imclass.core.targets import AnyOf
from imclass.core.text import MAIN_MEASURES, measure_title
from imclass.data.subset import VALIDATION
from imclass.models.arithmetic.precision import set_memory_format
from imclass.models.beginning import begin
from imclass.models.classifier import NetworkClassifier
from imclass.models.rates import layer_rates
from imclass.models.thresholds import fit_thresholds
from imclass.training import norms, optimiser_state
from imclass.training.averaging import AveragedWeights
from imclass.training.checkpoint import AVERAGE_PREFIX, MODEL_PREFIX, Checkpoint
from imclass.training.events import EpochEnd, RunPosition, summarise_evaluation
from imclass.training.finite import are_finite, first_nonfinite, gradients_of
from imclass.training.objective import Gradients, Learner
from imclass.training.plan import Leg

EPOCH_SUMS = ("main", "total", "correct", "images", "refused")  # summed over the current epoch


@dataclass
class State:
    """Everything that changes during training. `enter` creates what belongs to the current leg."""

    runtime: Runtime
    seed: int = 0
    checkpoint: Checkpoint | None = None  # to resume from
    at: RunPosition = RunPosition()
    first: RunPosition = RunPosition()  # where the leg began
    totals: dict[str, float] = field(default_factory=lambda: dict.fromkeys(EPOCH_SUMS, 0.0))
    history: list[float] = field(default_factory=list)  # the leg's main measure on validation, for each epoch
    errors: list[float] = field(default_factory=list)  # the leg's training error, for each epoch
    average: AveragedWeights | None = None  # of the current leg, once it has begun
    best: dict[str, Tensor] = field(default_factory=dict)  # the scored network's tensors when validation was best
    averaged: bool = False  # whether the weights to keep are an average
    best_main: float = -1.0  # the best main measure on validation
    main: str = ""  # the name of that measure
    thresholds: tuple[float, ...] = ()  # for each class if images may have several; fitted when validation was best
    metrics: dict[str, dict[str, int | float]] = field(default_factory=dict)  # of the weights to keep, keyed by split
    solved: dict[str, SolvedStage] = field(default_factory=dict)  # of all solved legs, keyed by the leg's folder
    current: Learner | None = None  # of the current leg

    def __post_init__(self) -> None:
        if self.checkpoint is not None:
            self.at = from_json(RunPosition, self.checkpoint.record["at"])

    @property
    def learner(self) -> Learner:
        """Return the current leg's learner: its classifier, objective and optimiser."""
        if self.current is None:
            raise RuntimeError("no leg was entered; call enter(leg) first")
        return self.current

    def enter(self, leg: Leg) -> None:
        """Begin a leg, or resume it from `checkpoint` if one is set.

        A new leg takes over the weights of the previous leg, if there is one, but not its optimiser, history or
        best weights.
        """
        classifier = leg.make()
        if self.checkpoint is None and self.current is not None:
            begin(classifier, self.current.classifier, leg.stage.begin)
        network = set_memory_format(classifier.network, self.runtime.arithmetic).to(self.runtime.device)
        layers = layer_rates(network, leg.stage.rates)
        layers.require_gradients()
        layers.train()
        optimiser = optimiser_state.build_optimiser(network, leg.stage.optimiser, layers.factors)
        weights = leg.class_weights
        self.current = Learner(
            classifier=classifier,
            objective=leg.stage.objective,
            optimiser=optimiser,
            layers=layers,
            parameters=optimiser_state.optimised_parameters(optimiser),
            norms=norms.tracked_norms(network),
            arithmetic=self.runtime.arithmetic,
            seed=self.seed,
            class_weights=None if weights is None else torch.from_numpy(weights).float().to(self.runtime.device),
        )
        self.first = self.at
        self.history, self.errors = [], []
        self.average, self.averaged = None, False
        self.best, self.best_main, self.thresholds = {}, -1.0, ()
        self.metrics = {}
        self.totals = dict.fromkeys(EPOCH_SUMS, 0.0)
        if self.checkpoint is not None:
            self.restore(self.checkpoint)
            self.checkpoint = None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the model and the optimiser, and those of the average and the best model if they exist.

        The names begin with "model.", "optimiser.", "average." and "best.".
        """
        average = self.average.tensors if self.average else {}
        kept = {f"{AVERAGE_PREFIX}{name}": tensor for name, tensor in average.items()}
        return self.live_tensors() | kept | {f"best.{name}": tensor for name, tensor in self.best.items()}

    def live_tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a step changes."""
        model = {f"{MODEL_PREFIX}{name}": tensor for name, tensor in self.learner.network.state_dict().items()}
        return model | optimiser_state.state_tensors(self.learner.network, self.learner.optimiser)

    def record(self) -> dict[str, Any]:
        """Return the part of the state that is not in `tensors`, as values that can be written as JSON."""
        return {
            "at": to_json(self.at),
            "first": to_json(self.first),
            "totals": self.totals,
            "history": self.history,
            "errors": self.errors,
            "averaged": self.averaged,
            "best_main": self.best_main,
            "main": self.main,
            "thresholds": list(self.thresholds),
            "metrics": self.metrics,
            "solved": to_json(self.solved),
            "runtime": to_json(self.runtime),
            "seed": self.seed,
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state from a checkpoint saved in the current leg."""
        record = checkpoint.record
        self.first = from_json(RunPosition, record["first"])
        self.totals = dict.fromkeys(EPOCH_SUMS, 0.0) | record["totals"]
        self.metrics = dict(record["metrics"])
        self.solved = {folder: from_json(SolvedStage, solved) for folder, solved in record["solved"].items()}
        self.history, self.errors = list(record["history"]), list(record["errors"])
        self.averaged, self.best_main, self.main = (record[k] for k in ("averaged", "best_main", "main"))
        self.thresholds = tuple(record["thresholds"])
        self.best = without_prefix(checkpoint.tensors, "best.")
        self.rewind(checkpoint.tensors)
        if average := without_prefix(checkpoint.tensors, AVERAGE_PREFIX):
            self.average = AveragedWeights(self.learner)
            self.average.restore(average)

    def rewind(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the model and the optimiser from copies of the tensors returned by `live_tensors`."""
        self.learner.network.load_state_dict(without_prefix(tensors, MODEL_PREFIX))
        optimiser_state.restore_state(self.learner.network, self.learner.optimiser, tensors)

    def position(self, leg: Leg) -> Position:
        """Return the position in the leg, in the form that schedules take."""
        done, epoch = self.at.step - self.first.step, self.at.epoch - self.first.epoch
        return Position(done, self.at.samples, leg.steps, tuple(self.history), tuple(self.errors), epoch)

    def is_done(self, leg: Leg) -> bool:
        """Return whether the leg has finished its last epoch or run out of patience."""
        waited = len(self.history) - 1 - self.history.index(self.best_main) if self.history else 0
        return self.at.epoch - self.first.epoch >= leg.stage.epochs or 0 < leg.stage.patience <= waited

    def step(self, gradients: Gradients | None, rate: float) -> str:
        """Take an optimiser step. Return the name of the first value that is not finite, or "" if all are finite.

        The value may be the loss, a gradient or a tensor changed by the step. If every image of the step was refused,
        `gradients` is None and nothing changes.
        """
        learner = self.learner
        if gradients is None:
            return ""
        if not math.isfinite(gradients.total):
            return "the loss"
        for parameter, value in zip(learner.parameters, gradients.values, strict=True):
            parameter.grad = value
        # Names are looked up only if a value is not finite, because collecting them takes milliseconds for a deep
        # network.
        if not are_finite(value for value in gradients.values if value is not None):
            return first_nonfinite(gradients_of(learner.network)) or ""
        optimiser_state.set_rate(learner.optimiser, rate)
        learner.optimiser.step()
        if gradients.moments:
            norms.move_statistics(learner.norms, gradients.moments)
        if not are_finite([*optimiser_state.live_tensors(learner.optimiser), *learner.network.buffers()]):
            return first_nonfinite(self.live_tensors().items()) or ""
        return ""

    def count(self, gradients: Gradients | None, images: int, refused: int) -> None:
        """Advance by one step, and add the step's numbers to the sums of the current epoch."""
        at = self.at
        self.at = replace(at, batch=at.batch + 1, step=at.step + 1, samples=at.samples + images)
        self.totals["refused"] += refused
        if gradients is not None and images:
            sums = {"main": gradients.main * images, "total": gradients.total * images, "correct": gradients.correct}
            for key, value in {**sums, "images": images}.items():
                self.totals[key] += value

    def update_average(self, leg: Leg) -> None:
        """Move the average of the weights after a step, if the leg has an average. A skipped step counts as well."""
        if leg.stage.average is None:
            return
        weight = leg.stage.average.weight_after(self.at.step - self.first.step, leg.steps, leg.batches)
        if weight and self.average is None:
            self.average = AveragedWeights(self.learner)
        elif weight and self.average is not None:
            self.average.move(weight)

    @property
    def scored(self) -> NetworkClassifier:
        """Return the classifier to score: with the averaged weights, or the current ones before there is an average."""
        return self.average.classifier if self.average else self.learner.classifier

    def record_result(self, split: str, result: Evaluation) -> bool:
        """Record the result of a split. Return whether it is the best result on validation so far."""
        if split != VALIDATION:
            self.metrics[split] = summarise_evaluation(result)
            return False
        self.main = result.main
        value, targets = result.measures[self.main], result.targets
        self.history.append(value)
        better = value > self.best_main
        if better:
            self.best_main = value
            self.thresholds = fit_thresholds(result.scores, targets.numpy()) if isinstance(targets, AnyOf) else ()
            self.metrics[split] = summarise_evaluation(result)
            self.best = {k: v.detach().cpu().clone() for k, v in self.scored.network.state_dict().items()}
            self.averaged = self.average is not None
        return better

    def next_epoch(self, counted: str) -> EpochEnd:
        """Advance to the next epoch, and return the means over the epoch that has ended.

        `counted` is the name of the measure for the fraction of correct images.
        """
        totals = self.totals
        images = max(1.0, totals["images"])
        main, total, right = (totals[key] / images for key in ("main", "total", "correct"))
        event = EpochEnd(self.at, main, {counted: right}, int(totals["images"]), int(totals["refused"]), total)
        self.at = replace(self.at, epoch=self.at.epoch + 1, batch=0)
        self.errors.append(1 - right)
        self.totals = dict.fromkeys(EPOCH_SUMS, 0.0)
        return event

    def next_leg(self) -> RunPosition:
        """Advance to the next leg, and return the position where it begins."""
        self.at = replace(self.at, stage=self.at.stage + 1, samples=0)
        return self.at

    def choose(self) -> None:
        """Load the weights to keep, with their thresholds.

        These are the best weights on validation. If none are recorded, the last weights are kept. Averaged weights take
        the place of the weights in training.
        """
        if not self.best and self.average:
            self.averaged = True
            self.learner.network.load_state_dict(self.average.tensors)
        self.average = None
        if self.best:
            self.learner.network.load_state_dict(self.best)
            classifier = replace(self.learner.classifier, thresholds=self.thresholds)
            self.current = replace(self.learner, classifier=classifier)

    @property
    def chosen_on(self) -> str:
        """Return the split whose measures decide which weights and thresholds are kept, or "" if there is no choice.

        After the first stage, the weights of earlier stages may have been chosen.
        """
        chosen = len(self.history) > 1 or self.at.stage > 0 or bool(self.thresholds)
        return VALIDATION if self.best and chosen else ""

    def describe_chosen(self, leg: Leg) -> str:
        """Describe in words which weights are kept."""
        average = f", {leg.stage.average.kind} average" if leg.stage.average and self.averaged else ""
        if not self.chosen_on:
            return f"last step{average}"
        epoch = self.history.index(self.best_main) + (0 if leg.stage.keep_start else 1)
        best = "best" if self.main in MAIN_MEASURES else f"best {measure_title(self.main)}"
        return f"{best} on validation ({100 * self.best_main:.2f}%), {leg.describe_epoch(epoch)}{average}"
