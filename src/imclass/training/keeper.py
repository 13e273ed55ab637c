"""The writer of a run's files: checkpoints during training, and a model file for each leg."""
# Tested in tests/training/test_loop.py

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.model_file import Metrics
from imclass.core.runtime import library_versions
from imclass.models.classifier import NetworkClassifier
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import LegEnd, Saved
from imclass.training.finite import first_nonfinite
from imclass.training.plan import Leg
from imclass.training.state import State

SplitMetrics: TypeAlias = Mapping[str, Mapping[str, int | float]]  # metrics keyed by split, then by name


@dataclass
class Keeper:
    """A writer of a run's files. The training loop sets `stopped` if it returns before the end of the last leg."""

    folder: Path
    legs: int  # the number of legs in the run
    checkpoints: Checkpoints
    save_every: int = 60  # seconds
    save_steps: int = 0  # steps; 0: only the time counts
    asked_to_stop: Callable[[], bool] = lambda: False
    before_save: Callable[[], None] = lambda: None  # called before a checkpoint or a model is written
    stopped: bool = False
    last_save: float = field(default_factory=time.monotonic)

    def is_stopped(self) -> bool:
        """Return whether the training loop has stopped before the end of the last leg."""
        return self.stopped

    def is_due(self, step: int) -> bool:
        """Return whether it is time for another checkpoint after the run's step `step`."""
        due = self.save_steps > 0 and step % self.save_steps == 0
        return due or time.monotonic() - self.last_save >= self.save_every

    def save(self, leg: Leg, state: State) -> Saved:
        """Write a checkpoint durably. If writing fails, older checkpoints remain and training continues.

        A state is not written if any of its values is not finite.
        """
        self.before_save()
        name = f"step-{state.at.step:010d}" + (f"-epoch-{state.at.epoch:05d}" if state.at.batch == 0 else "")
        path, tensors = self.checkpoints.folder / name, state.tensors()
        wrong = first_nonfinite(tensors.items())
        problem = f"{wrong} is not finite" if wrong else ""
        header = self.with_provenance(leg, state, state.metrics, f"step {state.at.step:,}").pack()[1]
        try:
            if not problem:
                self.checkpoints.save(name, tensors, state.record() | {"model": to_json(header)})
        except OSError as error:
            problem = str(error)
        self.last_save = time.monotonic()
        return Saved(state.at, path, problem)

    def with_provenance(
        self, leg: Leg, state: State, metrics: SplitMetrics, chosen: str, chosen_on: str = ""
    ) -> NetworkClassifier:
        """Return the classifier with the provenance that its model file will record."""
        scores = {split: Metrics.from_numbers(numbers) for split, numbers in metrics.items()}
        return replace(
            state.learner.classifier,
            trained=replace(leg.trained, metrics=scores, chosen=chosen, chosen_on=chosen_on, solved=state.solved),
            trained_on=leg.contents,
            versions=library_versions(),
            licence=leg.trained.init.licence if leg.trained.init else "",
        )

    @property
    def model(self) -> Path:
        """Return the path of the run's model file, which contains the last leg's model."""
        return self.folder / "model.safetensors"

    def model_of(self, leg: Leg) -> Path:
        """Return the path of a leg's model file.

        This is the run's model file if the run has only one leg, and otherwise a file in the leg's folder.
        """
        if self.legs == 1:
            return self.model
        return self.folder / "legs" / leg.folder / "model.safetensors"

    def finish(self, leg: Leg, state: State) -> LegEnd:
        """Write a leg's model file and, after the last leg, that of the run. Advance the state to the next leg."""
        self.before_save()
        path, chosen = self.model_of(leg), state.describe_chosen(leg)
        last = leg.number + 1 == self.legs
        metrics = {split: state.metrics[split] for split in leg.held_out}
        classifier = self.with_provenance(leg, state, metrics, chosen, state.chosen_on)
        # The run's model file is written last, because it marks the run as finished.
        files = [path, self.model] if last and path != self.model else [path]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for file in files:
                classifier.save(file)
        except OSError as error:
            problem = f"the model {path} could not be written: {error.strerror or error}"
            raise UserError(f"{problem}; free some disk space, then run the same command again") from None
        return LegEnd(state.next_leg(), leg.name, path, chosen, metrics)
