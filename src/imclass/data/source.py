"""The entries of `DATASETS`, and the locations that they open data sets from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imclass.core.config import Share
from imclass.core.contracts import Dataset
from imclass.store.store import Store

# The key of the split with every image of data without splits. It is not listed in `Dataset.splits`.
ALL_IMAGES = "all"


@dataclass(frozen=True)
class DataLocation:
    """The location of a data set (the store or a path), and the rule by which to split it if it has no splits."""

    store: Store
    path: Path | None = None
    split_seed: int = 0
    split: Share = Share()
    max_pixels: int | None = None  # largest image that is decoded; None: the default of `decode`


@dataclass(frozen=True)
class DatasetEntry:
    """An entry of `DATASETS`: a function that opens its splits, and facts that `imclass data` prints.

    `open` lists the files once and returns a mapping of splits. If that is a `LazySplits`, a split is read only when
    it is first used.
    """

    open: Callable[[DataLocation], Mapping[str, Dataset]]
    summary: str
    splits: tuple[str, ...] = ("train", "test")
    licence: str = ""
    get: Callable[[DataLocation], None] | None = None  # downloads it to the store; None: nothing to download
    suffix: str = ""  # extension of user files that it reads, such as ".csv"; it is then found by path


@dataclass(frozen=True, eq=False)
class LazySplits(Mapping[str, Any]):
    """Splits by name, each made by `make` at its first use.

    The values are `Dataset`s. They are annotated `Any`, because a runtime type checker would create one to check it.
    """

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
        """Return whether a split of this name exists, without making it."""
        return split in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
