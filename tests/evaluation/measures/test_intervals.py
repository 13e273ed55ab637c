"""Intervals: Wilson's solves its equation, and the bootstrap equals scipy's and a plain loop."""

import math

import numpy as np
import pytest
import scipy.stats
from jaxtyping import Float64, Int64

from imclass.evaluation.measures import intervals
from imclass.evaluation.measures.intervals import bootstrap_interval, recall_interval, wilson_interval
from imclass.evaluation.measures.single_label import (
    predictions,
)


def random_scores(n: int = 500, k: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, k)).astype(np.float32), random.integers(0, k, n)


def test_wilsons_ends_solve_its_equation() -> None:
    """Check that the ends are the shares p with |p - hits/n| = z sqrt(p (1 - p) / n)."""
    for hits, n in ((984, 1000), (1, 7), (50, 100)):
        for end in wilson_interval(hits, n):
            assert abs(end - hits / n) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / n), rel=1e-12)


def test_wilson_for_no_hits_and_for_all() -> None:
    low, high = wilson_interval(10, 10)
    assert high == 1.0 and 0.7 < low < 0.75
    assert wilson_interval(0, 10) == (0.0, pytest.approx(1 - low))
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_the_bootstrap_agrees_with_scipys() -> None:
    values = np.random.default_rng(0).exponential(size=400)

    def mean(positions: Int64[np.ndarray, "draws N"]) -> Float64[np.ndarray, "draws"]:
        return values[positions].mean(axis=1)

    expected = scipy.stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=1)
    ends = bootstrap_interval(mean, 400, draws=4000)
    assert ends == pytest.approx(tuple(expected.confidence_interval), abs=0.01)
    assert bootstrap_interval(mean, 400, draws=50) == bootstrap_interval(mean, 400, draws=50)
    assert bootstrap_interval(mean, 400, draws=50) != bootstrap_interval(mean, 400, draws=50, seed=1)
    assert all(math.isnan(end) for end in bootstrap_interval(mean, 0))


@pytest.mark.parametrize("at_once", [1, 5 * 60, 2**20])
def test_the_bootstrap_is_a_plain_loop_for_any_chunk_of_draws(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "DRAWS_PER_CHUNK", at_once)
    scores, labels = random_scores(60, 4)
    right = predictions(scores) == labels
    random, means = np.random.default_rng(7), []
    for _ in range(200):
        drawn = random.integers(60, size=60)
        present = [k for k in range(4) if (labels[drawn] == k).any()]
        means.append(np.mean([right[drawn][labels[drawn] == k].mean() for k in present]))
    expected = np.quantile(means, [0.025, 0.975])
    assert recall_interval(right, labels, 4, draws=200, seed=7) == pytest.approx(tuple(expected), rel=1e-12)


def test_the_bootstrap_holds_few_positions_at_a_time() -> None:
    seen = []

    def count(positions: Int64[np.ndarray, "draws N"]) -> Float64[np.ndarray, "draws"]:
        seen.append(positions.size)
        return np.zeros(len(positions))

    bootstrap_interval(count, 50_000, draws=100)
    assert max(seen) <= intervals.DRAWS_PER_CHUNK and sum(seen) == 50_000 * 100
