"""The results in the folder of a series."""
# Tested in tests/app/series/test_crossval.py

import json
from pathlib import Path

from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.settings.record import read_run_record
from imclass.app.settings.series import Series
from imclass.core.codec import from_json, to_json
from imclass.core.errors import UserError
from imclass.core.files import write_file
from imclass.evaluation.division_scores import DivisionScores
from imclass.evaluation.folds import OUT_OF_FOLD, CrossvalResult, read_folds
from imclass.evaluation.results import ResultRow, read_row
from imclass.store.context import Context
from imclass.training.kinds import kind_tables


def finished_series(run: Run, context: Context) -> Series | None:
    """Return the series in a folder, or None if it contains a single run or is not finished."""
    return read_run_record(run.config, kind_tables(context)).series if run.is_finished else None


def division_row(run: Run, number: int) -> ResultRow:
    """Return the row with the test scores of a finished run. Raise `UserError` if they are missing or damaged."""
    folder, word = run.divisions[number - 1].folder, run.series.division if run.series else "run"
    path = max((folder / "legs").glob("*/"), default=folder) / SCORES / "test.npz"
    try:
        return read_row(path)
    except UserError as error:
        fix = f"To repeat {word} {number}, remove {folder} and run the same command again"
        raise UserError(f"{error}\n{fix}") from None


def division_rows(run: Run) -> list[ResultRow]:
    """Return the row of each run of a series."""
    return [division_row(run, number) for number in range(1, len(run.divisions) + 1)]


def out_of_fold_scores(folder: Path) -> Path:
    """Return the path of the pooled scores in the folder of a cross-validation."""
    return folder / SCORES / f"{OUT_OF_FOLD}.npz"


def pooled_result(run: Run) -> CrossvalResult:
    """Return the result of a finished cross-validation. Raise `UserError` if its file is missing or damaged."""
    try:
        return read_folds(out_of_fold_scores(run.folder))
    except UserError as error:
        fix = f"To write the file again, remove {run.model} and run the same `imclass train` command again"
        raise UserError(f"{error}\n{fix}") from None


def save_results(run: Run, scores: DivisionScores) -> None:
    """Write the results of repeated splits, with the mean and the standard deviation of the measures to show."""
    spread = {name: {"mean": scores.mean(name), "deviation": scores.deviation(name)} for name in scores.shown}
    record = {"main": scores.main, "splits": to_json(scores.each), "spread": spread}
    write_file(run.results, json.dumps(record, indent=2) + "\n")


def read_results(run: Run) -> DivisionScores:
    """Return the results of finished repeated splits. Raise `UserError` if their file is missing or damaged."""
    try:
        record = json.loads(run.results.read_bytes())
        scores: DivisionScores = from_json(DivisionScores, {"main": record["main"], "each": record["splits"]})
        if not scores.each or any(scores.main not in score.measures for score in scores.each):
            raise ValueError("a measure is missing")
    except (OSError, ValueError, LookupError, TypeError, RecursionError, UserError):
        fix = "To write it again, remove the file and run the same `imclass train` command again"
        raise UserError(f"{run.results} is missing or damaged. {fix}") from None
    return scores
