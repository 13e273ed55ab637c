"""The verb `train`: a recipe on a data set, with progress, to a finished run."""

import contextlib
import json
import shlex
from pathlib import Path

from imclass.app.cli.answer import Answer, print_line, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED
from imclass.app.cli.book import BookLog
from imclass.app.cli.options import TrainRequest
from imclass.app.cli.progress import TrainingProgress
from imclass.app.cli.streams import interject
from imclass.app.load import load_network
from imclass.app.report.write import PAGE, write_report
from imclass.app.runs.directory import Run
from imclass.app.runs.train import Job, perform, prepare
from imclass.app.runs.watchers.expendable import OptionalConsumer, note_failure
from imclass.app.text.training import stop_message, training_summary
from imclass.core.codec import to_json
from imclass.core.errors import Interrupted, UserError
from imclass.core.model_file import Provenance
from imclass.store.context import Context
from imclass.training.events import Consumer, NonFinite, Saved

REFUSING_EVENTS = ("step_end", "evaluated")  # events that name refused files


def run(order: TrainRequest) -> Answer:
    """Train with progress on standard error, and the result on standard output."""
    arguments, config = order.arguments, order.training
    run = Run(arguments.out or Path("runs") / config.recipe)
    job = prepare(config, run, order.context, order.execution, dry=arguments.dry_run, given=order.given)
    print_notes(job.notes)
    if arguments.dry_run:
        record = {"training": to_json(job.config), "execution": to_json(job.execution)}
        return Answer(record, json.dumps(record, indent=2))
    run_job(job, arguments.style)
    add_report(run, order.context)
    return run_answer(run, order.context)


def run_job(job: Job, style: str) -> None:
    """Train to the end; raise `UserError` where it stops by itself before."""
    config, run, finished = job.config, job.run, job.run.is_finished
    if not finished:
        where = "goes on" if job.checkpoint else "begins"
        begun = f"{config.recipe} on {config.data} {where} in {run.folder}: {job.runtime}"
        print_line(begun)
    done = job.checkpoint.record["at"]["step"] if job.checkpoint else 0
    progress = [] if finished else [OptionalConsumer("the progress", lambda: progress_consumer(style, job.steps, done))]
    with contextlib.closing(perform(job, progress, interject)) as events:  # the bar goes before a message comes
        for event in events:
            match event:
                case NonFinite(action="stop"):
                    raise UserError(stop_message(event, run))
                case Saved(problem=problem, path=path) if problem and event.at.epoch == job.legs[-1].last_epoch:
                    raise UserError(
                        f"the last checkpoint {path} could not be written: {problem}; "
                        "make room and give the command again"
                    )
    if not finished and not job.execution.keep_checkpoints:
        print_notes(["the checkpoints of a finished run are removed; --keep-checkpoints keeps them"])


def add_report(run: Run, context: Context) -> None:
    """Write the page of a finished run that has none; where that fails, the run is finished all the same."""
    page = run.folder / PAGE
    if page.is_file():
        return
    try:
        write_report(run, page, context)
    except KeyboardInterrupt:
        raise Interrupted(f"the run is finished: {run.model}; {page.name} is not written yet") from None
    except Exception as error:
        note_failure(f"{page} was not written", error, f"imclass report {shlex.quote(str(run.folder))} tries again")


def progress_consumer(style: str, steps: int, done: int) -> Consumer:
    """What shows progress on standard error."""
    return BookLog() if style == "book" else TrainingProgress(steps, done)


def run_answer(run: Run, context: Context) -> Answer:
    """Return what a finished run came to."""
    refused = {one["path"] for event in run.events() if event["event"] in REFUSING_EVENTS for one in event["refused"]}
    trained = load_network(run.model, context).trained or Provenance()
    metrics = {split: found.numbers for split, found in trained.metrics.items()}
    record = {
        "run": str(run.folder),
        "model": str(run.model),
        "chosen": trained.chosen,
        "metrics": metrics,
        "refused": sorted(refused),
    }
    left_out = any(result["evaluated"] < result["total"] for result in metrics.values())
    return Answer(record, training_summary(record), SOME_REFUSED if refused or left_out else DONE)
