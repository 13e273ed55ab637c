"""The entries of `DATASETS`, and the locations from which they open data sets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imclass.core.config import Share
from imclass.core.contracts import Dataset
from imclass.store.store import Store

# The key of the split that contains every image, for data without splits. This key is not in `Dataset.splits`.
ALL_IMAGES = "all"


@dataclass(frozen=True)
class DataLocation:
    """The location of a data set (the store or a path), and the rule for splitting data without splits."""

    store: Store
    path: Path | None = None
    split_seed: int = 0
    split: Share = Share()
    max_pixels: int | None = None  # the largest image to decode; None: the default of `decode`


@dataclass(frozen=True)
class DatasetEntry:
    """An entry of `DATASETS`: a function that opens a data set's splits, and facts that `imclass data` prints.

    `open` lists the files once and returns a mapping of splits. If the mapping is a `LazySplits`, a split is read
    only when it is first used.
    """

    open: Callable[[DataLocation], Mapping[str, Dataset]]
    summary: str
    splits: tuple[str, ...] = ("train", "test")
    licence: str = ""
    get: Callable[[DataLocation], None] | None = None  # downloads the data set; None: nothing to download
    suffix: str = ""  # extension of the user's files that the entry reads, such as ".csv"
    recognises: Callable[[Path], bool] | None = None  # whether a user's folder has the layout that it reads


@dataclass(frozen=True, eq=False)
class LazySplits(Mapping[str, Any]):
    """Splits keyed by name, each made by `make` on first use.

    The values are `Dataset`s. They are annotated as `Any` because a runtime type checker would otherwise make a split
    in order to check it.
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
