"""The end of a run: its report, its model and its measures."""
# Tested in tests/app/verbs/test_train.py

import shlex
from typing import Any

from imclass.app.load import load_classifier
from imclass.app.report.write import PAGE, write_report
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.expendable import note_failure
from imclass.app.text.training import training_summary, uneven_splits
from imclass.core.errors import Interrupted
from imclass.core.model_file import Provenance
from imclass.store.context import Context

REFUSING_EVENTS = ("step_end", "feature_batch", "task_progress", "evaluated")  # events that list refused files


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


def outcome_parts(run: Run, context: Context) -> tuple[dict[str, Any], str, bool]:
    """Return the outcome of a finished run as a record and as text, and whether any file was refused."""
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
    return record, training_summary(record, uneven), bool(refused) or left_out
