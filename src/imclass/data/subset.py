"""Some of a data set's images as a split of their own: a share of train, cut off by a hash of names, for validation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt8

from imclass.core.config import Cut
from imclass.core.contracts import Dataset, Image, Origin
from imclass.core.errors import UserError
from imclass.core.text import composed

VALIDATION = "validation"


@dataclass(frozen=True, eq=False)
class Subset:
    """The images of another data set at `positions`, under a split's name; a `Dataset`."""

    base: Dataset
    positions: Int64[np.ndarray, "N"]
    split: str
    splits: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.base.classes

    @property
    def origin(self) -> Origin:
        return self.base.origin

    @property
    def whole(self) -> bool:
        """Whether this is all of the other data set."""
        return len(self.positions) == len(self.base)

    @cached_property
    def ids(self) -> Int64[np.ndarray, "N"]:
        return self.base.ids[self.positions]

    @cached_property
    def labels(self) -> Int64[np.ndarray, "N"]:
        return self.base.labels[self.positions]

    @cached_property
    def array(self) -> UInt8[np.ndarray, "N H W C"] | None:
        array = self.base.array
        return array if array is None or self.whole else array[self.positions]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i: int) -> tuple[Image, int]:
        return self.base[int(self.positions[i])]

    def name(self, i: int) -> str:
        """The name in the other data set."""
        return self.base.name(int(self.positions[i]))

    def digest(self) -> str:
        """SHA-256 over the other data set's digest and the ids of the images."""
        if self.whole:
            return self.base.digest()
        ids = np.ascontiguousarray(self.ids, "<i8").tobytes()
        return hashlib.sha256(self.base.digest().encode() + ids).hexdigest()


def relabelled(dataset: Dataset, split: str, splits: Sequence[str]) -> Subset:
    """Return all of a data set under another split's name."""
    return Subset(dataset, np.arange(len(dataset)), split, tuple(splits))


def splits_with_validation(training: Dataset) -> tuple[str, ...]:
    """Return the names of the splits of data once a share of train is cut off.

    A validation split of its own then takes the name "test". Raise `UserError` where the data has both.
    """
    rest = [split for split in training.splits if split not in ("train", VALIDATION)]
    if VALIDATION in training.splits:
        if "test" in rest:
            raise UserError(
                f"{training.origin.path} has a validation split, so none can be cut from train; leave --validation out"
            )
        rest = ["test", *rest]
    return ("train", VALIDATION, *rest)


def validation_cut(training: Dataset, cut: Cut) -> tuple[Subset, Subset]:
    """Return train and validation: of each class a share of train, by the rule that holds out a folder's test split.

    A class of one image stays in train.
    """
    chosen = np.zeros(len(training), bool)
    for label in np.unique(training.labels):
        positions = np.flatnonzero(training.labels == label)
        names = [training.name(int(i)) for i in positions]
        chosen[positions[lowest_ranked(names, cut.seed, cut.validation)]] = True
    splits = splits_with_validation(training)
    parts = {"train": np.flatnonzero(~chosen), VALIDATION: np.flatnonzero(chosen)}
    train, validation = (Subset(training, positions, split, splits) for split, positions in parts.items())
    return train, validation


def lowest_ranked(names: Sequence[str], seed: int, share: float) -> list[int]:
    """Return the positions of the share of names whose hashes of (seed, name) are lowest.

    Of two names it is at least one, and it is never all. Names, not positions, decide: adding images moves few others.
    """
    order = sorted(range(len(names)), key=lambda i: rank(names[i], seed))
    return order[: min(max(1, round(share * len(names))), len(names) - 1)]


def rank(name: str, seed: int) -> bytes:
    """Return where a name stands in its class's order: a hash of seed and name."""
    return hashlib.sha256(f"{seed}\n{composed(name)}".encode("utf-8", "surrogateescape")).digest()
