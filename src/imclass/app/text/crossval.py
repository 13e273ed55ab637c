"""The result of a cross-validation, as text for a terminal, and as the record that `--json` prints."""
# Tested in tests/app/runs/test_crossval.py

from typing import Any

from imclass.app.text import evaluation as texts
from imclass.app.text.evaluation import evaluation_parts, evaluation_record, interval_text
from imclass.app.text.labels import finite_or_none
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.core.text import measure_title, percent
from imclass.evaluation.folds import CrossvalResult, FoldScore


def fold_line(fold: FoldScore, folds: int, main: str) -> str:
    """Return the result of a fold on one line."""
    counts = f"{fold.evaluated:,} of {fold.total:,} images"
    return f"fold {fold.number}/{folds}: {measure_title(main)} {percent(fold.main)}, {counts}"


def spread_text(result: CrossvalResult) -> str:
    """Return the mean and the standard deviation over the folds, and the pooled measure with its interval."""
    main, number = result.pooled.main, len(result.folds)
    title, pooled = measure_title(main), percent(result.pooled.measures[main])
    spread = f"{title} over {number} folds: mean {percent(result.mean)}, "
    spread += f"standard deviation {100 * result.deviation:.2f} percentage points"
    images = f"all {len(result.pooled.targets):,} images, each scored by the model that was not trained on its fold"
    interval = f" {interval_text(result.interval)} (95%, Wilson)" if result.interval else ""
    return f"{spread}\n{title} {pooled}{interval} on {images}"


def crossval_text(result: CrossvalResult, test: Evaluation | None, model: str) -> str:
    """Return the result of a cross-validation: folds, spread, pooled tables, held-back images and the model's path."""
    lines = [fold_line(fold, len(result.folds), result.pooled.main) for fold in result.folds]
    parts = ["\n".join([*lines, spread_text(result)]), *evaluation_parts(result.pooled)]
    if test is not None:
        scored = f"{texts.headline(test)}; {test.tally}"
        parts.append(f"test images, held back from all folds and scored by the ensemble: {scored}")
    return "\n\n".join([*parts, f"finished: {model} (the mean of the probabilities of {len(result.folds)} models)"])


def crossval_record(result: CrossvalResult, test: Evaluation | None) -> dict[str, Any]:
    """Return the result of a cross-validation as JSON."""
    return {
        "folds": [{**to_json(fold), "main": finite_or_none(fold.main)} for fold in result.folds],
        "main": result.pooled.main,
        "mean": finite_or_none(result.mean),
        "standard_deviation": finite_or_none(result.deviation),
        "interval": list(result.interval) if result.interval else None,
        "out_of_fold": evaluation_record(result.pooled),
        "test": evaluation_record(test) if test is not None else None,
    }
