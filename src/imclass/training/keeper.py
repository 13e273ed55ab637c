"""What is kept of a run while it goes on: checkpoints, and the model file of each leg."""
# Tested in tests/training/test_loop.py

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.runtime import versions
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import LegEnd, Saved
from imclass.training.finite import first_nonfinite
from imclass.training.plan import Leg
from imclass.training.state import State


@dataclass
class Keeper:
    """The files of a run. `stopped` is set once the loop has ended before the end."""

    folder: Path
    legs: int  # of the whole run
    checkpoints: Checkpoints
    save_every: int = 60  # seconds
    asked_to_stop: Callable[[], bool] = lambda: False
    stopped: bool = False
    saved: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Return whether it is time for another checkpoint."""
        return time.monotonic() - self.saved >= self.save_every

    def save(self, leg: Leg, state: State) -> Saved:
        """Write a durable checkpoint; where the disk refuses, the older ones stay and training goes on."""
        name = f"step-{state.at.step:010d}" + (f"-epoch-{state.at.epoch:05d}" if state.at.batch == 0 else "")
        path, tensors = self.checkpoints.folder / name, state.tensors()
        broken = first_nonfinite(tensors.items())
        problem = f"{broken} is not finite" if broken else ""
        header = replace(leg.header, metrics=dict(state.metrics), chosen=f"step {state.at.step:,}", versions=versions())
        try:
            if not problem:
                self.checkpoints.save(name, tensors, state.record() | {"model": to_json(header)})
        except OSError as error:
            problem = str(error)
        self.saved = time.monotonic()
        return Saved(state.at, path, problem)

    def model_of(self, leg: Leg) -> Path:
        """Return where a leg leaves its model: in a folder of its own where a run has several."""
        if self.legs == 1:
            return self.folder / "model.safetensors"
        return self.folder / "legs" / f"{leg.number + 1:02d}-{leg.name}" / "model.safetensors"

    def finish(self, leg: Leg, state: State) -> LegEnd:
        """Write the model file of a leg, and with the last one that of the run; stand at the beginning of the next."""
        path, chosen = self.model_of(leg), state.chosen
        last = leg.number + 1 == self.legs
        metrics = {split: state.metrics[split] for split in leg.held_out}
        known = {name: getattr(leg.header, name) for name in ("recipe", "data", "licence", "init")}
        facts: dict[str, Any] = {**known, "metrics": metrics, "chosen": chosen, "versions": versions()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for file in dict.fromkeys([path, *([self.folder / "model.safetensors"] if last else [])]):
                state.learner.classifier.save(file, trained=leg.contents, **facts)
        except OSError as error:
            why = f"the model {path} could not be written: {error.strerror or error}"
            raise UserError(f"{why}; make room and give the same command again") from None
        return LegEnd(state.next_leg(), leg.name, path, chosen, metrics)
