"""What a run writes while it trains: checkpoints, and the model file of each leg."""
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

SplitMetrics: TypeAlias = Mapping[str, Mapping[str, int | float]]  # numbers by split


@dataclass
class Keeper:
    """The files of a run. The loop sets `stopped` if it returns before the last leg is over."""

    folder: Path
    legs: int  # of the whole run
    checkpoints: Checkpoints
    save_every: int = 60  # seconds
    asked_to_stop: Callable[[], bool] = lambda: False
    stopped: bool = False
    saved: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Return whether it is time for another checkpoint."""
        return time.monotonic() - self.saved >= self.save_every

    def save(self, leg: Leg, state: State) -> Saved:
        """Write a durable checkpoint; if the disk refuses it, the older ones stay and training goes on."""
        name = f"step-{state.at.step:010d}" + (f"-epoch-{state.at.epoch:05d}" if state.at.batch == 0 else "")
        path, tensors = self.checkpoints.folder / name, state.tensors()
        broken = first_nonfinite(tensors.items())
        problem = f"{broken} is not finite" if broken else ""
        header = self.trained(leg, state, state.metrics, f"step {state.at.step:,}").pack()[1]
        try:
            if not problem:
                self.checkpoints.save(name, tensors, state.record() | {"model": to_json(header)})
        except OSError as error:
            problem = str(error)
        self.saved = time.monotonic()
        return Saved(state.at, path, problem)

    def trained(self, leg: Leg, state: State, metrics: SplitMetrics, chosen: str) -> NetworkClassifier:
        """Return the classifier with what its file says of how it came about."""
        scores = {split: Metrics.of(numbers) for split, numbers in metrics.items()}
        return replace(
            state.learner.classifier,
            trained=replace(leg.trained, metrics=scores, chosen=chosen),
            trained_on=leg.contents,
            versions=library_versions(),
            licence=leg.trained.init.licence if leg.trained.init else "",
        )

    @property
    def model(self) -> Path:
        """The run's model file, which is that of the last leg."""
        return self.folder / "model.safetensors"

    def model_of(self, leg: Leg) -> Path:
        """Return the model file of a leg: the run's if it is the only leg, else one in the leg's folder."""
        if self.legs == 1:
            return self.model
        return self.folder / "legs" / f"{leg.number + 1:02d}-{leg.name}" / "model.safetensors"

    def finish(self, leg: Leg, state: State) -> LegEnd:
        """Write the model file of a leg, and after the last leg that of the run; move the state to the next leg."""
        path, chosen = self.model_of(leg), state.chosen
        last = leg.number + 1 == self.legs
        metrics = {split: state.metrics[split] for split in leg.held_out}
        classifier = self.trained(leg, state, metrics, chosen)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for file in dict.fromkeys([path, self.model] if last else [path]):  # the run's last: it marks the end
                classifier.save(file)
        except OSError as error:
            why = f"the model {path} could not be written: {error.strerror or error}"
            raise UserError(f"{why}; make room and give the same command again") from None
        return LegEnd(state.next_leg(), leg.name, path, chosen, metrics)
