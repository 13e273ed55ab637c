"""The run on one division of the data. It trains a network or fits a pipeline."""
# Tested in tests/app/series/test_repeats.py

from collections.abc import Collection, Generator
from typing import TypeAlias

from imclass.app.fits.perform import perform_fit
from imclass.app.fits.prepare import FitRun, prepare_fit
from imclass.app.runs.directory import Run
from imclass.app.runs.material import TrainingData, open_fit_data, open_training_data
from imclass.app.runs.train import Job, Measured, perform, prepare
from imclass.core.config import Execution, Fitting, RunConfig
from imclass.store.context import Context
from imclass.training.events import Event

DivisionJob: TypeAlias = Job | FitRun


def open_division(
    config: RunConfig, given: Collection[str], context: Context, old: tuple[str, ...] = ()
) -> tuple[RunConfig, TrainingData]:
    """Open the data that a config names. Return the config, adapted to this data, and the opened data.

    `old` contains the classes of a growing model.
    """
    if isinstance(config, Fitting):
        return open_fit_data(config, given, context)
    return open_training_data(config, given, context, old)


def prepare_division(
    config: RunConfig,
    run: Run,
    context: Context,
    execution: Execution,
    dry: bool,
    given: Collection[str],
    preset: Measured | None,
) -> DivisionJob:
    """Check a run, and prepare it to begin or to be resumed. Raise `UserError` if anything is invalid.

    The arguments are those of `prepare`.
    """
    if isinstance(config, Fitting):
        return prepare_fit(config, run, context, execution, dry, given, preset.runtime if preset else None)
    return prepare(config, run, context, execution, dry, given, preset)


def perform_division(job: DivisionJob) -> Generator[Event, None, None]:
    """Train or fit, and yield each event."""
    return perform_fit(job) if isinstance(job, FitRun) else perform(job)
