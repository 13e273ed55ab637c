"""The verb `train`: train a network with a recipe, show progress, and write the run's report."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from imclass.app.acts.dry_run import dry_run_parts
from imclass.app.acts.find_rate import find_rate_parts
from imclass.app.acts.fit import run_fit
from imclass.app.acts.outcome import add_report, outcome_parts
from imclass.app.acts.series import run_series, series_answer_parts
from imclass.app.cli.answer import Answer, print_line, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED
from imclass.app.cli.book import check_period, progress_consumer
from imclass.app.cli.fit_progress import FitProgressBar
from imclass.app.cli.options import TrainRequest
from imclass.app.cli.streams import interject
from imclass.app.fits.checks import check_fit_options
from imclass.app.fits.estimate import dry_fit_parts
from imclass.app.fits.prepare import FitRun, prepare_fit
from imclass.app.runs.directory import Run
from imclass.app.runs.train import Job, perform, prepare
from imclass.app.runs.watchers.expendable import OptionalConsumer
from imclass.app.series.division import DivisionJob
from imclass.app.series.prepare import prepare_series
from imclass.app.series.series import RunSeries
from imclass.app.settings.series import series_of
from imclass.app.text.training import stop_message
from imclass.core.config import Fitting
from imclass.core.errors import UserError
from imclass.store.context import Context
from imclass.training.events import Consumer, NonFinite, Saved

Show: TypeAlias = Callable[[int, int], Consumer]  # called with the number of steps, and of those that are done


def run(request: TrainRequest) -> Answer:
    """Train, test learning rates, or estimate the costs. Show progress on standard error, and return the result."""
    arguments, config = request.arguments, request.config
    check_period(arguments.style, arguments.log_period)
    show = partial(progress_consumer, arguments.style, arguments.log_period)
    run = Run(arguments.out or Path("runs") / config.recipe, series=series_of(arguments.crossval, arguments.repeats))
    how = (run, request.context, request.execution, arguments.dry_run, request.given)
    if isinstance(config, Fitting):
        check_fit_options(config.recipe, arguments.find_rate, arguments.style)
    elif arguments.find_rate:
        record, text, draw = find_rate_parts(config, *how, show, print_notes)
        return Answer(record, text, SOME_REFUSED if record["refused"] else DONE, last=draw)
    if run.series is not None:
        return train_series(prepare_series(config, *how), arguments.dry_run, show)
    job = prepare_fit(config, *how) if isinstance(config, Fitting) else prepare(config, *how)
    print_notes(job.notes)
    if arguments.dry_run:
        return dry_answer(job.record, None if run.is_finished else job)
    run_division(job, show)
    return finished_answer(run, request.context)


def dry_answer(record: dict[str, Any], job: DivisionJob | None) -> Answer:
    """Return the configuration, and what is to be done or an estimate of what it needs."""
    return Answer(*(dry_fit_parts(record, job) if isinstance(job, FitRun) else dry_run_parts(record, job)))


def finished_answer(run: Run, context: Context) -> Answer:
    """Write the report on a finished run, and return its `Answer`."""
    add_report(run, context)
    record, text, refused = outcome_parts(run, context)
    return Answer(record, text, SOME_REFUSED if refused else DONE)


def train_series(series: RunSeries, dry: bool, show: Show) -> Answer:
    """Run all divisions of a series, show progress on standard error, and return the result."""
    print_notes(series.notes)
    run, first = series.run, series.first
    if dry:
        count = f"{series.series.count} {series.series.folder}"
        print_notes([f"what follows is for one of the {count}"] if first else [])
        return dry_answer(series.record, first)
    run_series(series, lambda job: run_division(job, show), print_notes, print_line)
    add_report(run, series.context)
    record, text, refused = series_answer_parts(run, series.series)
    return Answer(record, text, SOME_REFUSED if refused else DONE)


def run_division(job: DivisionJob, show: Show) -> None:
    """Train a network or fit a pipeline to the end, with progress."""
    if isinstance(job, FitRun):
        run_fit(job, FitProgressBar, print_line, interject)
    else:
        run_job(job, show)


def run_job(job: Job, show: Show, watching: Sequence[Consumer] = ()) -> None:
    """Train to the end, while `watching` sees the events. Raise a `UserError` if training has to stop early."""
    config, run, finished = job.config, job.run, job.run.is_finished
    done = job.checkpoint.record["at"]["step"] if job.checkpoint else 0
    if not finished:
        verb = "resuming" if job.checkpoint else "training"
        begin = f" from step {done:,}" if job.checkpoint else ""
        print_line(f"{verb} {config.recipe} on {config.data} in {run.folder}{begin}: {job.runtime}")
    progress = [] if finished else [OptionalConsumer("showing the progress", lambda: show(job.steps, done))]
    with contextlib.closing(
        perform(job, [*progress, *watching], interject)
    ) as events:  # closes the bar before a message is printed
        for event in events:
            match event:
                case NonFinite(action="stop"):
                    raise UserError(stop_message(event, run))
                case Saved(problem=problem, path=path) if problem and event.at.epoch == job.legs[-1].last_epoch:
                    raise UserError(
                        f"the last checkpoint {path} could not be written: {problem}; "
                        "free some space and run the same command again"
                    )
    if not finished and not job.execution.keep_checkpoints:
        print_notes(["the checkpoints of the finished run were removed; to keep them, pass --keep-checkpoints"])
