"""The verb `train`: train a network with a recipe, show progress, and write the run's report."""

import contextlib
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from imclass.app.acts.crossval import crossval_answer_parts, run_folds
from imclass.app.acts.dry_run import dry_run_parts
from imclass.app.acts.find_rate import find_rate_parts
from imclass.app.cli.answer import Answer, print_line, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED
from imclass.app.cli.book import check_period, progress_consumer
from imclass.app.cli.fit_progress import FitProgressBar
from imclass.app.cli.options import TrainRequest
from imclass.app.cli.streams import interject
from imclass.app.fits.checks import check_fit_options
from imclass.app.fits.estimate import dry_fit_parts
from imclass.app.fits.perform import perform_fit
from imclass.app.fits.prepare import FitRun, prepare_fit
from imclass.app.load import load_classifier
from imclass.app.report.write import PAGE, write_report
from imclass.app.runs.crossval import CrossValidation, prepare_folds
from imclass.app.runs.directory import Run
from imclass.app.runs.train import Job, perform, prepare
from imclass.app.runs.watchers.expendable import OptionalConsumer, note_failure
from imclass.app.text.training import stop_message, training_summary, uneven_splits
from imclass.core.config import Fitting
from imclass.core.errors import Interrupted, UserError
from imclass.core.model_file import Provenance
from imclass.store.context import Context
from imclass.training.events import Consumer, NonFinite, Saved

Show: TypeAlias = Callable[[int, int], Consumer]  # called with the number of steps, and of those that are done
REFUSING_EVENTS = ("step_end", "feature_batch", "task_progress", "evaluated")  # events that list refused files


def run(request: TrainRequest) -> Answer:
    """Train, test learning rates, or estimate the costs. Show progress on standard error, and return the result."""
    arguments, config = request.arguments, request.config
    check_period(arguments.style, arguments.log_period)
    show = partial(progress_consumer, arguments.style, arguments.log_period)
    run = Run(arguments.out or Path("runs") / config.recipe, folds=arguments.crossval or 0)
    if isinstance(config, Fitting):
        check_fit_options(config.recipe, arguments.find_rate, arguments.crossval is not None, arguments.style)
        fit = prepare_fit(config, run, request.context, request.execution, arguments.dry_run, request.given)
        return fit_answer(fit, arguments.dry_run)
    how = (config, run, request.context, request.execution, arguments.dry_run, request.given)
    if arguments.find_rate:
        record, text, draw = find_rate_parts(*how, show, print_notes)
        return Answer(record, text, SOME_REFUSED if record["refused"] else DONE, last=draw)
    if arguments.crossval is not None:
        return cross_validate(prepare_folds(*how), arguments.dry_run, show)
    job = prepare(*how)
    print_notes(job.notes)
    if arguments.dry_run:
        return Answer(*dry_run_parts(job.record, None if job.run.is_finished else job))
    run_job(job, show)
    add_report(run, request.context)
    return run_answer(run, request.context)


def fit_answer(fit: FitRun, dry: bool) -> Answer:
    """Fit a pipeline or estimate the costs, show progress on standard error, and return the result."""
    print_notes(fit.notes)
    if dry:
        return Answer(*dry_fit_parts(fit))
    if not fit.run.is_finished:
        print_line(f"fitting {fit.config.recipe} on {fit.config.data} in {fit.run.folder}: {fit.job.runtime}")
    progress = [] if fit.run.is_finished else [OptionalConsumer("showing the progress", FitProgressBar)]
    with contextlib.closing(perform_fit(fit, progress, interject)) as events:
        for _ in events:
            pass
    add_report(fit.run, fit.job.context)
    return run_answer(fit.run, fit.job.context)


def cross_validate(crossval: CrossValidation, dry: bool, show: Show) -> Answer:
    """Run all folds of a cross-validation, show progress on standard error, and return the result."""
    print_notes(crossval.notes)
    if dry:
        print_notes([f"the estimate is for one of the {crossval.run.folds} folds"] if crossval.first else [])
        return Answer(*dry_run_parts(crossval.record, crossval.first))
    run_folds(crossval, lambda job: run_job(job, show), print_notes, print_line)
    add_report(crossval.run, crossval.context)
    record, text, refused = crossval_answer_parts(crossval.run)
    return Answer(record, text, SOME_REFUSED if refused else DONE)


def run_job(job: Job, show: Show) -> None:
    """Train to the end. Raise a `UserError` if training has to stop early."""
    config, run, finished = job.config, job.run, job.run.is_finished
    done = job.checkpoint.record["at"]["step"] if job.checkpoint else 0
    if not finished:
        verb = "resuming" if job.checkpoint else "training"
        begin = f" from step {done:,}" if job.checkpoint else ""
        print_line(f"{verb} {config.recipe} on {config.data} in {run.folder}{begin}: {job.runtime}")
    progress = [] if finished else [OptionalConsumer("showing the progress", lambda: show(job.steps, done))]
    with contextlib.closing(perform(job, progress, interject)) as events:  # closes the bar before a message is printed
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


def add_report(run: Run, context: Context) -> None:
    """Write the report on a finished run if there is none yet. A failure is printed but does not end the command."""
    page = run.folder / PAGE
    if page.is_file():
        return
    try:
        write_report(run, page, context)
    except KeyboardInterrupt:
        raise Interrupted(f"the run is finished: {run.model}, but {page.name} has not been written yet") from None
    except Exception as error:
        note_failure(f"{page} was not written", error, f"try again with: imclass report {shlex.quote(str(run.folder))}")


def run_answer(run: Run, context: Context) -> Answer:
    """Return the `Answer` for a finished run: its model, its measures and the refused files."""
    refused = {file["path"] for event in run.events() if event["event"] in REFUSING_EVENTS for file in event["refused"]}
    trained = load_classifier(run.model, context).trained or Provenance()
    metrics = {split: score.numbers for split, score in trained.metrics.items()}
    record = {
        "run": str(run.folder),
        "model": str(run.model),
        "chosen": trained.chosen,
        "chosen_on": trained.chosen_on,
        "metrics": metrics,
        "refused": sorted(refused),
    }
    uneven = uneven_splits(run, context)
    left_out = any(result["evaluated"] < result["total"] for result in metrics.values())
    return Answer(record, training_summary(record, uneven), SOME_REFUSED if refused or left_out else DONE)
