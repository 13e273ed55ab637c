"""A paired comparison of two classifiers on the same images: is one better, or could the difference be chance?"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from imclass.core.classes import join_classes
from imclass.core.contracts import Evaluation
from imclass.core.errors import UserError
from imclass.core.targets import labels_of
from imclass.core.text import list_names
from imclass.evaluation.measures.intervals import bootstrap_interval
from imclass.evaluation.measures.single_label import predictions, ranks

SIGNIFICANCE_LEVEL = 0.05  # below this p-value, chance is called unlikely


@dataclass(frozen=True)
class NamedScores:
    """A classifier's scores, with the names of the images in the same order."""

    name: str
    evaluation: Evaluation
    images: tuple[str, ...]


@dataclass(frozen=True)
class Pairs:
    """The images that two classifiers A and B have both scored, in A's order and with A's classes.

    The rank of an image is the position of its true class when the classes are sorted by score, with 1 for the highest.
    """

    images: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Int64[np.ndarray, "N"]
    predicted_a: Int64[np.ndarray, "N"]
    predicted_b: Int64[np.ndarray, "N"]
    rank_a: Int64[np.ndarray, "N"]
    rank_b: Int64[np.ndarray, "N"]
    only_a: int  # images that B has not scored
    only_b: int

    @property
    def right_a(self) -> Bool[np.ndarray, "N"]:
        return self.predicted_a == self.labels

    @property
    def right_b(self) -> Bool[np.ndarray, "N"]:
        return self.predicted_b == self.labels


@dataclass(frozen=True)
class Comparison:
    """The result of the paired test.

    Accuracies are in [0, 1]. `difference` is B's accuracy minus A's, and `interval` is the 95% confidence interval of
    the difference.
    """

    images: int
    only_a: int
    only_b: int
    top1_a: float
    top1_b: float
    difference: float
    interval: tuple[float, float]
    both_right: int
    a_alone_right: int
    b_alone_right: int
    both_wrong: int
    p_value: float
    ranks_changed: int
    predictions_changed: int

    @property
    def is_chance(self) -> bool:
        """Return whether the difference could be due to chance."""
        return self.p_value >= SIGNIFICANCE_LEVEL


@dataclass(frozen=True)
class Change:
    """An image for which two classifiers give different results."""

    image: str
    label: str  # the true class
    predicted_a: str
    predicted_b: str
    rank_a: int  # of the true class
    rank_b: int


def pair_images(a: NamedScores, b: NamedScores) -> Pairs:
    """Return the images that both classifiers have scored, matched by name and class.

    Raise `UserError` if the classifiers have different classes or no image in common.
    """
    columns = align_classes(a, b)
    places = {key: i for i, key in enumerate(image_keys(b))}
    found = [(i, places[key]) for i, key in enumerate(image_keys(a)) if key in places]
    if not found:
        raise UserError(
            f"{a.name} and {b.name} have no image in common: {a.images[0]!r} of {a.name} is not among the "
            f"{len(b.images):,} images of {b.name}; evaluate both on the same --data and --split"
        )
    of_a, of_b = np.array(found, np.int64).T
    labels, scores_a = labels_in(a)[of_a], a.evaluation.scores[of_a]
    scores_b = b.evaluation.scores[of_b][:, columns]
    return Pairs(
        images=tuple(a.images[i] for i in of_a.tolist()),
        classes=a.evaluation.classes,
        labels=labels,
        predicted_a=predictions(scores_a),
        predicted_b=predictions(scores_b),
        rank_a=ranks(scores_a, labels),
        rank_b=ranks(scores_b, labels),
        only_a=len(a.images) - len(found),
        only_b=len(b.images) - len(found),
    )


def align_classes(a: NamedScores, b: NamedScores) -> Int64[np.ndarray, "K"]:
    """Return the position of each of A's classes in B's list. Raise `UserError` if the class names differ."""
    classes_a, classes_b = a.evaluation.classes, b.evaluation.classes
    if set(classes_a) != set(classes_b):
        only_a = list_names([name for name in classes_a if name not in classes_b])
        only_b = list_names([name for name in classes_b if name not in classes_a])
        raise UserError(
            f"{a.name} and {b.name} have different classes, so their accuracies cannot be compared (only in "
            f"{a.name}: {only_a or 'none'}; only in {b.name}: {only_b or 'none'}). "
            "Compare models with the same classes"
        )
    return join_classes(classes_a, classes_b)


def image_keys(named: NamedScores) -> list[tuple[str, str]]:
    """Return the name and class of each image. Raise `UserError` if two images have the same name and class."""
    classes = named.evaluation.classes
    found = [(name, classes[k]) for name, k in zip(named.images, labels_in(named).tolist(), strict=True)]
    twice = [key for key, n in Counter(found).items() if n > 1]
    if twice:
        raise UserError(f"{named.name} contains the image {twice[0][0]!r} twice, so images cannot be paired by name")
    return found


def labels_in(named: NamedScores) -> Int64[np.ndarray, "N"]:
    """Return the single label of each image. Raise `UserError` if images may have several labels."""
    return labels_of(named.evaluation.targets, "a comparison", "compare their average precisions")


def compare_pairs(pairs: Pairs, draws: int = 1000, seed: int = 0) -> Comparison:
    """Compare the accuracies with McNemar's exact test, and compute a bootstrap interval for their difference."""
    right_a, right_b = pairs.right_a, pairs.right_b
    gained = right_b.astype(np.int64) - right_a
    a_alone, b_alone = int(np.count_nonzero(gained < 0)), int(np.count_nonzero(gained > 0))

    def mean_gains(positions: Int64[np.ndarray, "draws N"]) -> Float64[np.ndarray, "draws"]:
        return gained[positions].mean(axis=1)

    return Comparison(
        images=len(gained),
        only_a=pairs.only_a,
        only_b=pairs.only_b,
        top1_a=float(right_a.mean()),
        top1_b=float(right_b.mean()),
        difference=float(gained.mean()),
        interval=bootstrap_interval(mean_gains, len(gained), draws, seed),
        both_right=int(np.count_nonzero(right_a & right_b)),
        a_alone_right=a_alone,
        b_alone_right=b_alone,
        both_wrong=int(np.count_nonzero(~right_a & ~right_b)),
        p_value=mcnemar_p_value(a_alone, b_alone),
        ranks_changed=int(np.count_nonzero(pairs.rank_a != pairs.rank_b)),
        predictions_changed=int(np.count_nonzero(pairs.predicted_a != pairs.predicted_b)),
    )


def mcnemar_p_value(a_alone: int, b_alone: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    `a_alone` and `b_alone` are the numbers of images that only A or only B classifies correctly. The p-value is the
    probability that these counts differ at least this much if each of the images is equally likely to favour A or B.
    This is the binomial form of the test by Q. McNemar, "Note on the sampling error of the difference between
    correlated proportions or percentages", Psychometrika 12, 1947. Only the last division uses floating point, so the
    counts may be of any size.
    """
    n, fewer = a_alone + b_alone, min(a_alone, b_alone)
    tail = binomial = 1  # the sum over k <= fewer of the binomial coefficients C(n, k)
    for k in range(fewer):
        binomial = binomial * (n - k) // (k + 1)
        tail += binomial
    return min(1.0, 2 * tail / 2**n)


def changes(pairs: Pairs, max_images: int) -> tuple[Change, ...]:
    """Return up to `max_images` images whose predictions or ranks differ, largest difference in rank first."""
    differ = (pairs.rank_a != pairs.rank_b) | (pairs.predicted_a != pairs.predicted_b)
    moved = np.where(differ, np.abs(pairs.rank_a - pairs.rank_b), -1)
    order = np.argsort(-moved, kind="stable")[:max_images]
    classes = pairs.classes
    return tuple(
        Change(
            pairs.images[i],
            classes[pairs.labels[i]],
            classes[pairs.predicted_a[i]],
            classes[pairs.predicted_b[i]],
            int(pairs.rank_a[i]),
            int(pairs.rank_b[i]),
        )
        for i in order.tolist()
        if differ[i]
    )
