"""The steps of `imclass train --crossval` and `--repeats`: run all divisions with progress, and return the result."""
# Tested in tests/app/series/test_crossval.py

from collections.abc import Callable, Iterable
from typing import Any

from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.series.division import DivisionJob
from imclass.app.series.results import division_row, pooled_result, read_results
from imclass.app.series.series import RunSeries
from imclass.app.settings.series import Crossval, Series
from imclass.app.text.series import crossval_record, crossval_text, division_line, repeats_text, scores_record
from imclass.evaluation.division_scores import division_score
from imclass.evaluation.results import read_row


def run_series(
    series: RunSeries,
    run_job: Callable[[DivisionJob], None],
    note: Callable[[Iterable[str]], None],
    line: Callable[[str], None],
) -> None:
    """Run all divisions and finish. `note` receives new notes, and `line` the result of each division."""
    shown, run = set(series.notes), series.run
    for number, job in enumerate(series.jobs(), 1):
        note(text for text in job.notes if text not in shown)
        shown |= set(job.notes)
        run_job(job)
        result = division_row(run, number).evaluation
        line(division_line(division_score(number, result), series.series, result.main))
    if not run.is_finished:
        series.finish()


def series_answer_parts(run: Run, series: Series) -> tuple[dict[str, Any], str, bool]:
    """Return the record and the text of a finished series, and whether images were refused."""
    record: dict[str, Any] = {"run": str(run.folder)}
    if not isinstance(series, Crossval):
        scores = read_results(run)
        record |= {"results": str(run.results), **scores_record(scores, series)}
        refused = any(score.evaluated < score.total for score in scores.each)
        return record, repeats_text(scores, series, str(run.results)), refused
    result, test_scores = pooled_result(run), run.folder / SCORES / "test.npz"
    test = read_row(test_scores).evaluation if test_scores.is_file() else None
    record |= {"model": str(run.model), **crossval_record(result, series, test)}
    refused = bool(result.pooled.refused or (test is not None and test.refused))
    return record, crossval_text(result, series, test, str(run.model)), refused
