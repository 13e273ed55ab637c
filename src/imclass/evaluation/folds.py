"""The results of a cross-validation: the measures of each fold, and the pooled predictions of all folds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imclass.core.codec import from_json, to_json
from imclass.core.contracts import Evaluation
from imclass.core.targets import AnyOf, OneOf, Targets
from imclass.evaluation.division_scores import DivisionScore, DivisionScores, division_scores
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.growth import with_old_classes
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.results import ResultRow, read_row, read_scores, save_scores

OUT_OF_FOLD = "out-of-fold"  # the split of the pooled predictions


@dataclass(frozen=True)
class CrossvalResult:
    """The result of each fold, and a row with the pooled predictions. The model of a fold scores the fold's images."""

    scores: DivisionScores
    row: ResultRow

    @property
    def pooled(self) -> Evaluation:
        """Return the evaluation of all images, each scored by the model that was not trained on its fold."""
        return self.row.evaluation

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95% Wilson interval of the pooled accuracy, or None if images may have several labels."""
        share, n = self.pooled.measures[self.pooled.main], len(self.pooled.targets)
        is_share = isinstance(self.pooled.targets, OneOf) and not math.isnan(share)
        return wilson_interval(round(share * n), n) if is_share else None

    def save(self, path: Path) -> None:
        """Write a score file with the pooled predictions and the result of each fold."""
        record = {**to_json(self.row.facts), "folds": to_json(self.scores.each)}
        save_scores(path, self.pooled, self.row.images, record)


def pool_folds(rows: Sequence[ResultRow], scope: str) -> CrossvalResult:
    """Return the result of a cross-validation, given the row of each fold. The images are sorted by name."""
    each = [row.evaluation for row in rows]
    names = np.array([name for row in rows for name in row.images])
    order = np.argsort(names, kind="stable")
    scores, ids = (np.concatenate([getattr(e, key) for e in each])[order] for key in ("scores", "ids"))
    total, refused = sum(e.total for e in each), tuple(refused for e in each for refused in e.refused)
    pooled = evaluation_of(each[0].classes, join_targets([e.targets for e in each])[order], scores, ids, total, refused)
    pooled = with_old_classes(replace(pooled, trained_on=sum(e.trained_on for e in each)), each[0].old)
    facts = replace(rows[0].facts, scope=scope, split=OUT_OF_FOLD)
    return CrossvalResult(division_scores(each), ResultRow(OUT_OF_FOLD, pooled, tuple(names[order].tolist()), facts))


def join_targets(targets: Sequence[Targets]) -> Targets:
    """Join the targets of all folds into one object."""
    values = np.concatenate([one.numpy() for one in targets])
    return OneOf(values) if isinstance(targets[0], OneOf) else AnyOf(values)


def read_folds(path: Path) -> CrossvalResult:
    """Read a file that `CrossvalResult.save` wrote. Raise `UserError` for any other file."""
    row, record = read_row(path), read_scores(path).record
    each = from_json(tuple[DivisionScore, ...], record.get("folds"), f"folds in {path}")
    return CrossvalResult(DivisionScores(row.evaluation.main, each), row)
