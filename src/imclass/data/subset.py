"""Splits that are subsets of a data set: folds, random draws and a validation split. A hash of names chooses images."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from imclass.core.config import Count, Cut, Division, Fold
from imclass.core.contracts import Dataset, Image, Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf, Targets
from imclass.core.text import list_names, nfc_form
from imclass.data.contents import digest_of
from imclass.data.source import ALL_IMAGES, LazySplits

VALIDATION = "validation"
TRAIN_AND_TEST = ("train", "test")  # the splits of a division
IN_TRAIN, IN_TEST, IN_NEITHER = 0, 1, 2  # where a division puts an image


@dataclass(frozen=True, eq=False)
class Subset:
    """An implementation of `Dataset` with the images at some positions of another data set."""

    base: Dataset
    positions: Int64[np.ndarray, "N"]
    split: str
    splits: tuple[str, ...]
    rule: str = ""  # how `base` was divided; empty: as its origin states

    @property
    def classes(self) -> tuple[str, ...]:
        return self.base.classes

    @property
    def origin(self) -> Origin:
        return replace(self.base.origin, rule=self.rule) if self.rule else self.base.origin

    @property
    def is_complete(self) -> bool:
        """Whether this subset contains all images of the other data set."""
        return len(self.positions) == len(self.base)

    @cached_property
    def ids(self) -> Int64[np.ndarray, "N"]:
        return self.base.ids[self.positions]

    @cached_property
    def targets(self) -> Targets:
        return self.base.targets[self.positions]

    @cached_property
    def array(self) -> UInt8[np.ndarray, "N H W C"] | None:
        array = self.base.array
        return array if array is None or self.is_complete else array[self.positions]  # indexing would copy the array

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i: int) -> Image:
        return self.base[int(self.positions[i])]

    def name(self, i: int) -> str:
        """Return the image's name in the other data set."""
        return self.base.name(int(self.positions[i]))

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return the content hashes of these images. All images of the other data set are hashed to compute them."""
        return self.base.contents()[self.positions]

    def digest(self) -> str:
        """Return the SHA-256 of the names, classes and contents of these images."""
        return digest_of(self)


def with_validation(splits: LazySplits, cut: Cut) -> LazySplits:
    """Return the splits after moving the fraction `cut.validation` of train to a "validation" split.

    The fraction is taken from each class, by the same rule as the test split of a folder without splits. A
    class with one image stays in train. If the data already has a validation split, that split is renamed to "test".
    Raise `UserError` if the data also has a test split.
    """
    if not cut.validation:
        return splits
    bases = {name: name for name in splits if name not in ("train", VALIDATION)}
    if VALIDATION in splits:
        if "test" in bases:
            path = splits["train"].origin.path
            raise UserError(
                f"{path} has a validation and a test split, so no validation split can be taken from train; "
                "drop --validation"
            )
        bases = {"test": VALIDATION, **bases}
    names = ("train", VALIDATION, *bases)
    mask = cache(lambda: validation_mask(splits["train"], cut))

    def make(split: str) -> Subset:
        base = splits[bases.get(split, "train")]
        positions = np.arange(len(base)) if split in bases else np.flatnonzero(mask() == (split == VALIDATION))
        return Subset(base, positions, split, names)

    return LazySplits(names, make)


def validation_mask(train: Dataset, cut: Cut) -> Bool[np.ndarray, "N"]:
    """Return a mask of the training images that are held out for validation."""
    mask = np.zeros(len(train), bool)
    for positions in train.targets.strata(len(train.classes)):
        ranked = lowest_ranked([train.name(int(i)) for i in positions], cut.seed, cut.validation)
        mask[positions[ranked]] = True
    return mask


def with_division(splits: LazySplits, rule: Division, seed: int) -> LazySplits:
    """Return the splits "train" and "test" of one division. Data without splits also keeps the split "all".

    If data has splits, its training images are divided, and its other splits are left out.
    """
    pool = cache(lambda: division_pool(splits))
    places = cache(lambda: PLACES[type(rule)](pool(), rule, seed))

    def make(split: str) -> Dataset:
        if split == ALL_IMAGES:
            return pool()
        positions = np.flatnonzero(places() == TRAIN_AND_TEST.index(split))
        return Subset(pool(), positions, split, TRAIN_AND_TEST, rule.text(seed))

    return LazySplits((*TRAIN_AND_TEST, ALL_IMAGES) if ALL_IMAGES in splits else TRAIN_AND_TEST, make)


def division_pool(splits: LazySplits) -> Dataset:
    """Return the images to divide: all images of data without splits, otherwise the training images."""
    pool: Dataset = splits[ALL_IMAGES if ALL_IMAGES in splits else "train"]
    return pool


def fold_places(pool: Dataset, rule: Fold, seed: int) -> Int64[np.ndarray, "N"]:
    """Return the place of each image: in test if it is in the chosen fold, otherwise in train."""
    return np.where(fold_numbers(pool, rule.folds, seed) == rule.number, IN_TEST, IN_TRAIN).astype(np.int64)


def fold_numbers(pool: Dataset, folds: int, seed: int) -> Int64[np.ndarray, "N"]:
    """Return the number of the fold, from 1, in which each image is held out.

    Each class is divided into parts of consecutive hashes of (seed, name), so few images move to another fold when
    images are added. The sizes of two folds differ by at most one image, both within a class and over all classes.
    Raise `UserError` if a class has fewer images than there are folds.
    """
    strata = pool.targets.strata(len(pool.classes))
    check_divisible(pool, [len(positions) for positions in strata], folds)
    numbers = np.zeros(len(pool), np.int64)
    first = 0  # the fold that gets the next surplus image; it changes, so that no fold gets those of every class
    for positions in strata:
        order = sorted(positions.tolist(), key=lambda i: rank(pool.name(i), seed))
        few, surplus = divmod(len(order), folds)
        sizes = [few + ((fold - first) % folds < surplus) for fold in range(folds)]
        numbers[order] = np.repeat(np.arange(1, folds + 1), sizes)
        first = (first + surplus) % folds
    return numbers


def check_divisible(pool: Dataset, counts: Sequence[int], folds: int) -> None:
    """Raise `UserError` if a class has fewer images than there are folds. Classes without images are not checked.

    Images that may have several labels form a single group.
    """
    least = min((count for count in counts if count), default=0)
    if least >= folds:
        return
    where = pool.origin.path
    if len(counts) == len(pool.classes) and pool.targets.link == "softmax":
        where = f"class {pool.classes[counts.index(least)]!r} of {where}" if least else where
    images = "1 image" if least == 1 else f"{least:,} images"
    fix = f"use at most {least} folds, or add images" if least > 1 else "add images, or remove the class"
    raise UserError(f"{folds} folds cannot be made from the {images} in {where}; {fix}")


def count_places(pool: Dataset, rule: Count, seed: int) -> Int64[np.ndarray, "N"]:
    """Return the place of each image: in train, in test or in neither.

    Each class is sorted by a hash of (seed, number, name). Train has its first `rule.train` images, and test the last
    `rule.test` of the others. In a class with enough images, the test images are therefore the same for any
    `rule.train`.
    Raise `UserError` if a class would have no test image, or if images may have several labels.
    """
    check_countable(pool, rule)
    places = np.full(len(pool), IN_NEITHER, np.int64)
    for positions in pool.targets.strata(len(pool.classes)):
        order = sorted(positions.tolist(), key=lambda i: rank(pool.name(i), seed, rule.number))
        others = order[rule.train :]
        places[order[: rule.train]] = IN_TRAIN
        places[others[-rule.test :]] = IN_TEST
    return places


def check_countable(pool: Dataset, rule: Count) -> None:
    """Raise `UserError` if images may have several labels, or if a class has too few images.

    Classes without images are not checked.
    """
    where = pool.origin.path
    if not isinstance(pool.targets, OneOf):
        problem = f"--split.kind count draws images class by class, but the images of {where} may have several labels"
        raise UserError(f"{problem}; use --split.kind share or fold")
    counts = pool.targets.counts(len(pool.classes)).tolist()
    few = {name: n for name, n in zip(pool.classes, counts, strict=True) if 0 < n <= rule.train}
    if not few:
        return
    name, least = min(few.items(), key=lambda one: one[1])
    images = "1 image" if least == 1 else f"{least:,} images"
    others = tuple(other for other in few if other != name)
    also = f", and too few of {list_names(others, 5)}" if others else ""
    fix = f"use at most --split.train {least - 1}" if least > 1 else "add images"
    raise UserError(
        f"--split.train {rule.train} needs {rule.train + 1:,} images of each class, so that one is left for testing, "
        f"but {where} has {images} of class {name!r}{also}; {fix}, or remove the class"
    )


def lowest_ranked(names: Sequence[str], seed: int, share: float) -> list[int]:
    """Return the positions of the fraction `share` of the names with the lowest hashes of (seed, name).

    If there are two or more names, at least one of them is taken, but never all. The choice depends on the names
    and not on their positions, so few of the existing images move to another split when images are added.
    """
    order = sorted(range(len(names)), key=lambda i: rank(names[i], seed))
    return order[: min(max(1, round(share * len(names))), len(names) - 1)]


def rank(name: str, seed: int, draw: int = 0) -> bytes:
    """Return the key by which a name is sorted within its class: the hash of the seed and the name.

    `draw` is the number of a random draw, counted from 1, or 0 if there is only one order of the names.
    """
    key = f"{seed} {draw}" if draw else str(seed)
    return hashlib.sha256(f"{key}\n{nfc_form(name)}".encode("utf-8", "surrogateescape")).digest()


PLACES: Mapping[type, Callable[[Any, Any, int], Any]] = MappingProxyType({Fold: fold_places, Count: count_places})
