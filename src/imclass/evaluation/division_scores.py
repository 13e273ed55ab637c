"""The scores of models trained on several divisions of the same data: their mean and their standard deviation."""
# Tested in tests/evaluation/test_folds.py

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imclass.core.contracts import Evaluation

SECOND_MEASURES: Mapping[str, str] = {"top1": "balanced", "map": "map11"}  # what is shown next to the main measure


@dataclass(frozen=True)
class DivisionScore:
    """The scores of one division's model on its test images. The number of the division is counted from 1."""

    number: int
    measures: dict[str, float]
    evaluated: int
    total: int


@dataclass(frozen=True)
class DivisionScores:
    """The scores of each division, and the name of the main measure."""

    main: str
    each: tuple[DivisionScore, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        """Return the measures to show: the main one and, if it is an accuracy, the mean recall of the classes.

        For images with several labels, the second is the mean average precision at eleven recalls.
        """
        names = (self.main, SECOND_MEASURES.get(self.main, self.main))
        return tuple(name for name in dict.fromkeys(names) if all(name in score.measures for score in self.each))

    def mean(self, measure: str) -> float:
        """Return the mean of a measure over the divisions."""
        return statistics.fmean(score.measures[measure] for score in self.each)

    def deviation(self, measure: str) -> float:
        """Return the standard deviation of a measure over the K divisions, with K - 1 degrees of freedom."""
        return float(np.std([score.measures[measure] for score in self.each], ddof=1))


def division_score(number: int, result: Evaluation) -> DivisionScore:
    """Return the scores of one division's model."""
    return DivisionScore(number, dict(result.measures), len(result.targets), result.total)


def division_scores(results: Sequence[Evaluation]) -> DivisionScores:
    """Return the scores of all divisions, in the order of their numbers."""
    return DivisionScores(results[0].main, tuple(division_score(n, result) for n, result in enumerate(results, 1)))
