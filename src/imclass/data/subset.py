"""Some of a data set's images as a split of their own: a share of train, cut off by a hash of names, for validation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from imclass.core.config import Cut
from imclass.core.contracts import Dataset, Image, Origin
from imclass.core.errors import UserError
from imclass.core.targets import Targets
from imclass.core.text import nfc_form
from imclass.data.contents import digest_of
from imclass.data.source import LazySplits

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
    def targets(self) -> Targets:
        return self.base.targets[self.positions]

    @cached_property
    def array(self) -> UInt8[np.ndarray, "N H W C"] | None:
        array = self.base.array
        return array if array is None or self.whole else array[self.positions]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i: int) -> Image:
        return self.base[int(self.positions[i])]

    def name(self, i: int) -> str:
        """The name in the other data set."""
        return self.base.name(int(self.positions[i]))

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return those in the other data set, all of whose images are hashed."""
        return self.base.contents()[self.positions]

    def digest(self) -> str:
        """Return the SHA-256 over the names, classes and contents of these images."""
        return digest_of(self)


def with_validation(splits: LazySplits, cut: Cut) -> LazySplits:
    """Return the splits of a data set with a share of train as "validation", where `cut` sets one.

    The share is of each class, by the rule that holds out a folder's test split; a class of one image stays in train. A
    validation split that the data has already takes the name "test". Raise `UserError` where it has both.
    """
    if not cut.validation:
        return splits
    bases = {name: name for name in splits if name not in ("train", VALIDATION)}
    if VALIDATION in splits:
        if "test" in bases:
            path = splits["train"].origin.path
            raise UserError(f"{path} has a validation split, so none can be cut from train; leave --validation out")
        bases = {"test": VALIDATION, **bases}
    names = ("train", VALIDATION, *bases)
    chosen = cache(lambda: validation_mask(splits["train"], cut))

    def make(split: str) -> Subset:
        base = splits[bases.get(split, "train")]
        every = np.arange(len(base)) if split in bases else np.flatnonzero(chosen() == (split == VALIDATION))
        return Subset(base, every, split, names)

    return LazySplits(names, make)


def validation_mask(train: Dataset, cut: Cut) -> Bool[np.ndarray, "N"]:
    """Return which images of train are cut off for validation."""
    chosen = np.zeros(len(train), bool)
    for positions in train.targets.strata(len(train.classes)):
        ranked = lowest_ranked([train.name(int(i)) for i in positions], cut.seed, cut.validation)
        chosen[positions[ranked]] = True
    return chosen


def lowest_ranked(names: Sequence[str], seed: int, share: float) -> list[int]:
    """Return the positions of the share of names whose hashes of (seed, name) are lowest.

    Of two names it is at least one, and it is never all. Names, not positions, decide: adding images moves few others.
    """
    order = sorted(range(len(names)), key=lambda i: rank(names[i], seed))
    return order[: min(max(1, round(share * len(names))), len(names) - 1)]


def rank(name: str, seed: int) -> bytes:
    """Return where a name stands in its class's order: a hash of seed and name."""
    return hashlib.sha256(f"{seed}\n{nfc_form(name)}".encode("utf-8", "surrogateescape")).digest()
