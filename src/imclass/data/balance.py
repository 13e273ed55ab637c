"""Balancing of classes with different numbers of images: weights for a loss, and the order of a balanced epoch."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from imclass.core.randomness import GOLDEN_GAMMA, Draws, mix

UNEVEN = 1.5  # a set is uneven if its largest class is more than this many times as large as its smallest


def imbalance(counts: Int64[np.ndarray, "K"]) -> float:
    """Return the ratio of the largest class to the smallest, among the classes that have images."""
    present = counts[counts > 0]
    return float(present.max() / present.min()) if len(present) else 1.0


def is_uneven(counts: Int64[np.ndarray, "K"]) -> bool:
    """Return whether the sizes of the classes differ so much that the accuracy says little about the rare ones."""
    return imbalance(counts) > UNEVEN


def class_weights(
    counts: Int64[np.ndarray, "K"], classes: Sequence[str], balanced: bool, costs: Mapping[str, float]
) -> Float64[np.ndarray, "K"] | None:
    """Return the factor for the loss of each class's images, or None if the classes have neither weights nor costs.

    A balanced weight is N / (K n) for a class with n of the N images, where K is the number of classes with images.
    These are scikit-learn's weights for `class_weight="balanced"`. Their mean over all images is 1.
    """
    if not (balanced or costs):
        return None
    weights = np.array([costs.get(name, 1.0) for name in classes], np.float64)
    if balanced:
        weights *= counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return weights


def order_in_turns(
    draws: Draws, ids: Int64[np.ndarray, "N"], groups: Sequence[Int64[np.ndarray, "_"]]
) -> tuple[Int64[np.ndarray, "N"], Int64[np.ndarray, "N"]]:
    """Return the images of an epoch in which all classes are equally frequent: their positions and their repeats.

    `groups` contains the positions of each class's images. The epoch has as many images as `ids`. Over the whole run,
    the classes take turns: in each turn, every class supplies one image, in random order. A class supplies all of its
    images in random order before it supplies any of them again. The repeat of an image is how often its class has
    started again since the epoch began, so no two images of an epoch have the same position and repeat.

    All of this follows from the seed, the epoch and the images. No state is kept.
    """
    size, used = len(ids), [group for group in groups if len(group)]
    slots = draws.epoch * size + np.arange(size)  # numbered over the whole run
    first, last = int(slots[0] // len(used)), int(slots[-1] // len(used))
    run = draws.at_epoch(0)
    turns = np.arange(first, last + 1)
    places = turns[:, None] * len(used) + np.arange(len(used))
    order = np.argsort(run.bits(places.ravel(), "turns").reshape(places.shape), axis=1, kind="stable")
    positions, repeats = np.empty(places.shape, np.int64), np.empty(places.shape, np.int64)
    for k, group in enumerate(used):
        passes = turns // len(group)
        repeats[:, k] = passes - passes[0]
        for number in range(int(passes[0]), int(passes[-1]) + 1):
            shuffled = group[np.argsort(run.bits(ids[group], "balanced", number), kind="stable")]
            here = slice(max(number * len(group) - first, 0), (number + 1) * len(group) - first)  # its turns
            positions[here, k] = shuffled[turns[here] % len(group)]
    chosen = slots - first * len(used)
    rows = np.arange(len(turns))[:, None]
    return positions[rows, order].ravel()[chosen], repeats[rows, order].ravel()[chosen]


def repeat_ids(ids: Int64[np.ndarray, "N"], repeats: Int64[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
    """Return ids that decide the augmentation, so an image that is drawn again in an epoch is augmented differently.

    Where the repeat is 0, the id is unchanged.
    """
    salted: UInt64[np.ndarray, N] = mix(ids.astype(np.uint64) + repeats.astype(np.uint64) * GOLDEN_GAMMA)
    return np.where(repeats == 0, ids, (salted >> np.uint64(1)).astype(np.int64))
