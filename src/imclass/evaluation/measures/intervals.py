"""Confidence intervals: Wilson intervals for proportions, and bootstrap intervals for any statistic."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from imclass.evaluation.measures.single_label import mean_recall

DRAWS_PER_CHUNK = 2**20  # image positions that a bootstrap draws at a time


def wilson_interval(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval for the proportion of `hits` in `n` independent trials (95% for z = 1.96).

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927. Unlike the
    textbook interval, this one stays inside [0, 1] and has a non-zero width even for 0 or n hits. If there are no
    trials, the interval is (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    share, widened = hits / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / widened
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / widened
    # With 0 or n hits one end is exactly 0 or 1, which the formula may miss by a rounding error.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)


def bootstrap_interval(
    statistic: Callable[[Int64[np.ndarray, "draws N"]], Float[np.ndarray, "draws"]],
    n: int,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95% percentile interval of a statistic over `n` images. Each draw samples `n` images with replacement.

    B. Efron and R. J. Tibshirani, "An introduction to the bootstrap", 1993, section 13.3. `statistic` receives image
    positions, one row for each draw, and returns one value for each draw. Draws are processed in chunks, so memory use
    does not grow with the number of draws. If there are no images, the interval is (nan, nan).
    """
    if n == 0:
        return math.nan, math.nan
    random, rows = np.random.default_rng(seed), max(1, DRAWS_PER_CHUNK // n)
    starts = range(0, draws, rows)
    values = [statistic(random.integers(n, size=(min(rows, draws - start), n))) for start in starts]
    low, high = np.quantile(np.concatenate(values), [0.025, 0.975])
    return float(low), float(high)


def recall_interval(
    right: Bool[np.ndarray, "N"], labels: Int64[np.ndarray, "N"], k: int, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95% bootstrap interval for the mean recall of `k` classes. `right` is true for correct predictions."""

    def mean_recalls(positions: Int64[np.ndarray, "draws N"]) -> Float64[np.ndarray, "draws"]:
        cells = labels[positions] + k * np.arange(len(positions))[:, None]
        shape = (len(positions), k)
        support = np.bincount(cells.ravel(), minlength=math.prod(shape)).reshape(shape)
        hits = np.bincount(cells[right[positions]], minlength=math.prod(shape)).reshape(shape)
        return mean_recall(hits, support)

    return bootstrap_interval(mean_recalls, len(labels), draws, seed)
