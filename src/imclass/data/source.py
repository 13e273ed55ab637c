"""Entries of `DATASETS`: how a data set is opened, and where it is looked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imclass.core.config import Share
from imclass.core.contracts import Dataset
from imclass.store.store import Store

ALL_IMAGES = "all"  # a key of the splits of data that has no parts: every image; it is not among `Dataset.splits`


@dataclass(frozen=True)
class DataLocation:
    """Where to look for a data set: the store, or the user's own path; and how to split what has no split."""

    store: Store
    path: Path | None = None
    split_seed: int = 0
    split: Share = Share()
    most_pixels: int | None = None  # of an image file that is decoded


@dataclass(frozen=True)
class DatasetEntry:
    """An entry of `DATASETS`: how to open its splits, and what `imclass data` prints of it.

    `open` looks at the files once and returns a mapping of splits. One such as `LazySplits` reads a split only when it
    is asked for.
    """

    open: Callable[[DataLocation], Mapping[str, Dataset]]
    summary: str
    splits: tuple[str, ...] = ("train", "test")
    licence: str = ""
    get: Callable[[DataLocation], None] | None = None  # fetch it into the store; None where there is nothing to fetch
    suffix: str = ""  # of the files of the user that it reads, such as ".csv"; it is then found by path, not by name


@dataclass(frozen=True, eq=False)
class LazySplits(Mapping[str, Any]):  # of datasets; a checker of types at run time would make one to look at it
    """Splits by name, each of which `make` makes when it is first asked for."""

    names: Sequence[str]
    make: Callable[[str], Dataset]
    made: dict[str, Dataset] = field(default_factory=dict, repr=False)

    def __getitem__(self, split: str) -> Dataset:
        if split not in self.made:
            if split not in self.names:
                raise KeyError(split)
            self.made[split] = self.make(split)
        return self.made[split]

    def __contains__(self, split: object) -> bool:
        """Return whether there is such a split, without making it."""
        return split in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
