"""The steps of `imclass train --crossval`: run all folds with progress, and return the result."""
# Tested in tests/app/runs/test_crossval.py

from collections.abc import Callable, Iterable
from typing import Any

from imclass.app.runs.crossval import CrossValidation, fold_row, pooled_result
from imclass.app.runs.directory import Run
from imclass.app.runs.train import Job
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.text.crossval import crossval_record, crossval_text, fold_line
from imclass.evaluation.folds import fold_score
from imclass.evaluation.results import read_row


def run_folds(
    crossval: CrossValidation,
    run_job: Callable[[Job], None],
    note: Callable[[Iterable[str]], None],
    line: Callable[[str], None],
) -> None:
    """Run all folds and make the ensemble. `note` receives new notes, and `line` the result of each fold."""
    shown, run = set(crossval.notes), crossval.run
    for number, job in enumerate(crossval.jobs(), 1):
        note(text for text in job.notes if text not in shown)
        shown |= set(job.notes)
        run_job(job)
        result = fold_row(run, number).evaluation
        line(fold_line(fold_score(number, result), run.folds, result.main))
    if not run.is_finished:
        crossval.finish()


def crossval_answer_parts(run: Run) -> tuple[dict[str, Any], str, bool]:
    """Return the record and the text of a finished cross-validation, and whether images were refused."""
    result, test_scores = pooled_result(run), run.folder / SCORES / "test.npz"
    test = read_row(test_scores).evaluation if test_scores.is_file() else None
    record = {"run": str(run.folder), "model": str(run.model), **crossval_record(result, test)}
    refused = bool(result.pooled.refused or (test is not None and test.refused))
    return record, crossval_text(result, test, str(run.model)), refused
