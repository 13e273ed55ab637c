"""The act `imclass train --find-rate`: a test of learning rates, which trains nothing that is kept.

Smith ("Cyclical learning rates for training neural networks", arXiv:1506.01186, section 3.3) raises the rate during one
short training, and reads from the curve where the network begins to learn and where it no longer does. He raises it
linearly, and draws the accuracy. Here it rises by the same factor at each step, so that a test covers seven powers of
ten, and the loss of the training images is drawn.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.rates import rates_png
from imclass.app.runs.directory import Run
from imclass.app.runs.pace import throwaway_state
from imclass.app.runs.train import Job, prepare
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.config import Execution, Position, Schedule, Training
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.runtime import apply_runtime
from imclass.store.context import Context
from imclass.training.events import Consumer, EpochStart, NonFinite, StepEnd
from imclass.training.loop import remaining_batches, step
from imclass.training.parallel import SingleProcess

STEPS, LOWEST, HIGHEST = 200, 1e-6, 10.0
SMOOTHING = 0.9  # the weight of earlier losses in a smoothed loss
DIVERGED = 4.0  # the test ends once the smoothed loss is this many times its minimum
LEARNED = 0.98  # a rate is suggested only if the smoothed loss has fallen to this fraction of the first loss
MARGIN = 10.0  # the suggested rate is that of the lowest smoothed loss, divided by this


@dataclass(frozen=True)
class Rise(Schedule):
    """A schedule in which the rate rises by the same factor at each step, from `LOWEST` to `HIGHEST`."""

    kind: ClassVar[str] = "rise"

    def share_at(self, position: Position) -> float:
        """Return the rate, which `rate` = 1 leaves unchanged."""
        return LOWEST * (HIGHEST / LOWEST) ** (position.step / (STEPS - 1))


@dataclass(frozen=True)
class RateTest:
    """The losses of steps with rising learning rates. `ended` describes why there are no further steps.

    `refused` contains the paths of files that could not be used.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    smoothed: Sequence[float]
    ended: str
    refused: Sequence[str] = ()

    @property
    def lowest(self) -> int:
        """The position of the lowest smoothed loss."""
        return self.smoothed.index(min(self.smoothed))

    @property
    def suggested(self) -> float | None:
        """A rate to begin with, rounded to two digits, or None if the loss has not fallen."""
        if self.smoothed[self.lowest] > LEARNED * self.smoothed[0]:
            return None
        return float(f"{self.rates[self.lowest] / MARGIN:.1e}")


def find_rate_parts(
    config: Training,
    run: Run,
    context: Context,
    execution: Execution,
    dry: bool,
    given: Collection[str],
    show: Callable[[int, int], Consumer],
    note: Callable[[Iterable[str]], None],
) -> tuple[dict[str, Any], str, Callable[[], None]]:
    """Test the learning rates of a run's first stage. Return the result as a record and as text, and a function.

    The function draws the picture. It is called after the result was printed, because the disk may be full.
    `show` makes the consumer that shows progress, and `note` receives notes for the user.
    """
    other = "dry-run" if dry else run.series.option if run.series else ""
    if other:
        raise UserError(f"--find-rate is used without --{other}; leave out one of the two")
    if config.stages[0].kind == "solve":
        raise UserError(
            "--find-rate tests the first stage, but a solver fits that stage, and it has no rate. Train this stage "
            "first, and begin from its model: imclass train folder --data DIR --init RUN --find-rate"
        )
    with tempfile.TemporaryDirectory() as folder:  # so that an earlier run in the folder does not matter
        job = prepare(config, Run(Path(folder) / "run"), context, execution, given=given, writes=False)
        picture = picture_file(run, job.legs[0].loader.dataset)
        note(job.notes)
        found = measure_rates(job, show(STEPS, 0))
    if not found.losses:
        raise UserError("the loss of the first step is not finite; check --model.mean and --model.std, or --init")
    record = {**to_json(found), "lowest": found.rates[found.lowest], "suggested": found.suggested}
    draw = partial(rates_png, found.rates, found.losses, found.smoothed, found.suggested, picture)
    return record | {"picture": str(picture)}, rates_text(found, config, picture), draw


def picture_file(run: Run, data: Dataset) -> Path:
    """Return the file of the picture, next to the run's folder. Raise `UserError` if it cannot be written there."""
    if run.folder.name in ("", ".."):
        raise UserError(f"--out {run.folder} has no name for the picture; choose another --out")
    run.location_notes(data)  # raises an error for the folder of a class
    picture, root = run.folder.with_name(f"{run.folder.name}-rate.png"), data.origin.path
    if root and picture.resolve().is_relative_to(root):
        raise UserError(f"{picture} would be read as an image of {root}; choose another --out")
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{picture} cannot be written: {error.strerror}; choose another --out") from None
    check_target(picture, "--find-rate:", ".png", is_our_picture)
    return picture


def measure_rates(job: Job, progress: Consumer) -> RateTest:
    """Train a copy of the initial weights with rising rates, until the loss has risen or a value is not finite.

    The weights and the random state of the run do not change.
    """
    apply_runtime(job.runtime)
    rates, losses, smoothed, refused = list[float](), list[float](), list[float](), set[str]()
    mean, ended = 0.0, "at the highest rate"
    with torch.random.fork_rng(devices=[]), contextlib.closing(progress):  # steps set the random state
        for event in rising_steps(job, progress):
            if isinstance(event, NonFinite):
                ended = f"because {event.what} was not finite"
                break
            refused |= {file.path for file in event.refused}
            if not event.images:  # every image of the step was refused
                continue
            mean = SMOOTHING * mean + (1 - SMOOTHING) * event.main
            rates.append(event.rate)
            losses.append(event.main)
            smoothed.append(mean / (1 - SMOOTHING ** len(losses)))  # a mean that began at 0 is too small at first
            if smoothed[-1] > DIVERGED * min(smoothed):
                ended = "because the loss had risen"
                break
    return RateTest(rates, losses, smoothed, ended, sorted(refused))


def rising_steps(job: Job, progress: Consumer) -> Iterator[StepEnd | NonFinite]:
    """Yield the ends of steps of the first leg, each with a higher rate than the step before. `progress` sees them."""
    first = job.legs[0]
    leg = replace(first, stage=replace(first.stage, schedule=Rise(rate=1.0), average=None), skip_nonfinite=False)
    state, group = throwaway_state(leg, job.runtime), SingleProcess()
    while True:
        progress.see(EpochStart(state.at, -(-STEPS // leg.batches), leg.batches, leg.counted))
        for batch in remaining_batches(leg, state, group):
            event = step(leg, state, group, batch, time.monotonic())
            progress.see(event)
            yield event
            if state.at.step == STEPS:
                return
        state.next_epoch(leg.counted)


def rates_text(found: RateTest, config: Training, picture: Path) -> str:
    """Describe the result of a test of learning rates."""
    steps, rate = len(found.rates), config.stages[0].descent[1].rate
    option = "--stages.0.schedule.rate" if len(config.stages) > 1 else "--schedule.rate"
    lines = [
        f"steps: {steps}, with rates from {found.rates[0]:.2g} to {found.rates[-1]:.2g}; ended {found.ended}",
        f"lowest loss: {found.smoothed[found.lowest]:.4f} at a rate of {found.rates[found.lowest]:.2g}",
    ]
    if found.suggested is None:
        lines.append("suggestion: none, because the loss did not fall")
    else:
        lines.append(f"suggestion: {option} {found.suggested:g}, a tenth of this rate; the config has {rate:g}")
    return "\n".join([*lines, f"picture: {picture}"])
