"""The verb `train`: a recipe on a data set, with progress, to a finished run."""

import contextlib
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imclass.app.cli.answer import say, show
from imclass.app.cli.arguments import DONE, SOME_REFUSED, Common
from imclass.app.cli.options import Order
from imclass.app.cli.streams import interject
from imclass.app.load import load_network
from imclass.app.report.write import write_report
from imclass.app.runs.book import Book
from imclass.app.runs.directory import Run
from imclass.app.runs.expendable import Expendable, note_failure
from imclass.app.runs.progress import Screen
from imclass.app.runs.train import Job, perform, prepare
from imclass.core.codec import to_json
from imclass.core.errors import Interrupted, UserError
from imclass.core.model_file import Provenance
from imclass.core.text import main_of, printable, title
from imclass.store.context import Context
from imclass.training.events import Consumer, NonFinite, Saved

TAKEN_FROM = ("step_end", "evaluated")  # events that name refused files


def run(order: Order) -> int:
    """Train with progress on standard error, and the result on standard output."""
    own, config = order.own, order.training
    run = Run(own.out or Path("runs") / config.recipe)
    job = prepare(config, run, order.context, order.execution, dry=own.dry_run, given=order.given)
    say(job.notes)
    if own.dry_run:
        show({"training": to_json(job.config), "execution": to_json(job.execution)})
        return DONE
    if not run.finished:
        train(job, order)
    add_report(order, run)
    return report_run(run, own.common, order.context)


def train(job: Job, order: Order) -> None:
    """Train to the end; raise `UserError` where it stops by itself before."""
    config, run = job.config, job.run
    where = "goes on" if job.checkpoint else "begins"
    begun = f"{config.recipe} on {config.data} {where} in {run.folder}: {job.runtime}"
    print(printable(begun), file=sys.stderr)
    done = job.checkpoint.record["at"]["step"] if job.checkpoint else 0
    progress = Expendable("the progress", lambda: screen(order.own.style, job.steps, done))
    with contextlib.closing(perform(job, [progress], interject)) as events:  # the bar goes before a message comes
        for event in events:
            match event:
                case NonFinite(action="stop"):
                    raise UserError(stopped(event, run))
                case Saved(problem=problem, path=path) if problem and event.at.epoch == job.legs[-1].last_epoch:
                    raise UserError(
                        f"the last checkpoint {path} could not be written: {problem}; "
                        "make room and give the command again"
                    )
    if not order.execution.keep_checkpoints:
        print("note: the checkpoints of a finished run are removed; --keep-checkpoints keeps them", file=sys.stderr)


def add_report(order: Order, run: Run) -> None:
    """Write the page of a finished run that has none; where that fails, the run is finished all the same."""
    page = run.folder / "report.html"
    if page.is_file():
        return
    try:
        write_report(run, page, order.context, order.execution.workers)
    except KeyboardInterrupt:
        raise Interrupted(f"the run is finished: {run.model}; {page.name} is not written yet") from None
    except Exception as error:
        note_failure(f"{page} was not written", error, f"imclass report {shlex.quote(str(run.folder))} tries again")


def screen(style: str, steps: int, done: int) -> Consumer:
    """What shows progress on standard error."""
    return Book() if style == "book" else Screen(steps, done)


def stopped(event: NonFinite, run: Run) -> str:
    """Why training stopped by itself, and what to do."""
    names = ", ".join(event.names[:10]) + (f" and {len(event.names) - 10} more" if len(event.names) > 10 else "")
    kept = f"; the checkpoints in {run.folder} are from before" if run.worked else ""
    return (
        f"step {event.at.step:,}: {event.what} is not finite, so training stopped{kept}.\nimages of the step: {names}\n"
        "Lower --schedule.rate, or pass over such steps with --nonfinite skip"
        + (" (in another --out)" if run.worked else "")
    )


def report_run(run: Run, common: Common, context: Context) -> int:
    """Print what a finished run came to."""
    refused = {one["path"] for event in run.events() if event["event"] in TAKEN_FROM for one in event["refused"]}
    trained = load_network(run.model, context).trained or Provenance()
    metrics = {split: found.numbers for split, found in trained.metrics.items()}
    if common.json:
        show(
            {
                "run": str(run.folder),
                "model": str(run.model),
                "chosen": trained.chosen,
                "metrics": metrics,
                "refused": sorted(refused),
            }
        )
    else:
        for split, result in metrics.items():
            counted, loss, main = accounted(result), f"{result['loss']:.4f}", main_of(result)
            entropy = "cross-entropy" if main == "top1" else "binary cross-entropy"
            chose = ", which chose the weights" if split in trained.chosen else ""
            print(f"{split}{chose}: {title(main)} {100 * result[main]:.2f} %, {entropy} {loss}; {counted}")
        if refused:
            print(f"refused in all: {len(refused):,} {'file' if len(refused) == 1 else 'files'}")
        print(f"finished: {run.model} ({trained.chosen})")
    left_out = any(result["evaluated"] < result["total"] for result in metrics.values())
    return SOME_REFUSED if refused or left_out else DONE


def accounted(metrics: Mapping[str, Any]) -> str:
    """How many images of a split were scored and how many refused, from a model file's metrics."""
    evaluated, total = metrics["evaluated"], metrics["total"]
    kept = f"{evaluated:,} of {total:,} evaluated"
    return f"{kept}, {total - evaluated:,} refused" if evaluated < total else kept
