"""The result of a series of runs, as text for a terminal, and as the record that `--json` prints."""
# Tested in tests/app/series/test_crossval.py

from typing import Any

from imclass.app.settings.series import Series
from imclass.app.text import evaluation as texts
from imclass.app.text.evaluation import evaluation_parts, evaluation_record, interval_text
from imclass.app.text.labels import finite_or_none
from imclass.core.contracts import Evaluation
from imclass.core.text import measure_title, percent
from imclass.evaluation.division_scores import SECOND_MEASURES, DivisionScore, DivisionScores
from imclass.evaluation.folds import CrossvalResult

LONG_TITLES = {
    "balanced": "balanced accuracy (mean recall of the classes)",
    "map11": "mAP at eleven recalls",
}


def long_title(measure: str) -> str:
    """Return the name of a measure, with an explanation if it has several names."""
    return LONG_TITLES.get(measure, measure_title(measure))


def division_line(score: DivisionScore, series: Series, main: str) -> str:
    """Return the result of a division on one line."""
    names = [name for name in (main, SECOND_MEASURES.get(main, "")) if name in score.measures]
    shares = ", ".join(f"{measure_title(name)} {percent(score.measures[name])}" for name in names)
    counts = f"{score.evaluated:,} of {score.total:,} images"
    return f"{series.division} {score.number}/{series.count}: {shares}, {counts}"


def spread_lines(scores: DivisionScores, series: Series) -> list[str]:
    """Return a line for each measure to show, with its mean and its standard deviation over the divisions."""
    return [
        f"{long_title(name)} over {len(scores.each)} {series.folder}: mean {percent(scores.mean(name))}, "
        f"standard deviation {100 * scores.deviation(name):.2f} percentage points"
        for name in scores.shown
    ]


def pooled_line(result: CrossvalResult) -> str:
    """Return the main measure on the pooled predictions of a cross-validation, with its interval."""
    main = result.pooled.main
    images = f"all {len(result.pooled.targets):,} images, each scored by the model that was not trained on its fold"
    interval = f" {interval_text(result.interval)} (95%, Wilson)" if result.interval else ""
    return f"{measure_title(main)} {percent(result.pooled.measures[main])}{interval} on {images}"


def score_lines(scores: DivisionScores, series: Series) -> list[str]:
    """Return the lines for each division, followed by their spread."""
    lines = [division_line(score, series, scores.main) for score in scores.each]
    return [*lines, *spread_lines(scores, series)]


def crossval_text(result: CrossvalResult, series: Series, test: Evaluation | None, model: str) -> str:
    """Return the result of a cross-validation: folds, spread, pooled tables, held-back images and the model's path."""
    parts = ["\n".join([*score_lines(result.scores, series), pooled_line(result)]), *evaluation_parts(result.pooled)]
    if test is not None:
        scored = f"{texts.headline(test)}; {test.tally}"
        parts.append(f"test images, held back from all folds and scored by the ensemble: {scored}")
    return "\n\n".join([*parts, f"finished: {model} (the mean of the probabilities of {series.count} models)"])


def repeats_text(scores: DivisionScores, series: Series, results: str) -> str:
    """Return the result of repeated splits: splits, spread and the path of the results."""
    return "\n".join([*score_lines(scores, series), f"finished: {results} (each split has a model)"])


def scores_record(scores: DivisionScores, series: Series) -> dict[str, Any]:
    """Return the scores of all divisions, their means and their standard deviations as JSON."""
    names = [name for name in scores.each[0].measures if all(name in score.measures for score in scores.each)]
    return {
        series.folder: [
            {
                "number": score.number,
                "main": finite_or_none(score.measures[scores.main]),
                "measures": {name: finite_or_none(value) for name, value in score.measures.items()},
                "evaluated": score.evaluated,
                "total": score.total,
            }
            for score in scores.each
        ],
        "main": scores.main,
        "mean": finite_or_none(scores.mean(scores.main)),
        "standard_deviation": finite_or_none(scores.deviation(scores.main)),
        "spread": {
            name: {
                "mean": finite_or_none(scores.mean(name)),
                "standard_deviation": finite_or_none(scores.deviation(name)),
            }
            for name in names
        },
    }


def crossval_record(result: CrossvalResult, series: Series, test: Evaluation | None) -> dict[str, Any]:
    """Return the result of a cross-validation as JSON."""
    return {
        **scores_record(result.scores, series),
        "interval": list(result.interval) if result.interval else None,
        "out_of_fold": evaluation_record(result.pooled),
        "test": evaluation_record(test) if test is not None else None,
    }
