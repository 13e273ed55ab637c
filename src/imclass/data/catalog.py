"""Data sets by name or by path."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from imclass.core.config import Cut
from imclass.core.contracts import Dataset, Refused
from imclass.core.errors import BadImage, UserError
from imclass.core.tables import EntryTable
from imclass.core.text import suggestion
from imclass.data.source import ALL_IMAGES, DataLocation, DatasetEntry, LazySplits
from imclass.data.subset import with_validation
from imclass.data.threads import decode_in_order
from imclass.store.context import Context, find_in

FOLDER_ENTRY = "folder"  # the entry that reads the user's own paths
DEFAULT_CUT = Cut()


def dataset_table(context: Context | None = None) -> EntryTable:
    """Every data set there is, by name."""
    return find_in(context, "imclass.data.sets", "DATASETS", "data set")


def open_split(data: str, split: str, context: Context, cut: Cut = DEFAULT_CUT) -> Dataset:
    """Return one split of `data`, or with "all" every image of data that has no parts of its own.

    An unknown name or split is a `UserError` with the nearest one.
    """
    return OpenData(data, context).take(split, cut)


@dataclass(frozen=True, eq=False)
class OpenData:
    """A data set, folder or table in any cut. Its files are listed once for each rule and seed."""

    name: str
    context: Context
    whole: dict[Cut, LazySplits] = field(default_factory=dict, repr=False)  # by the cut without validation
    cuts: dict[Cut, LazySplits] = field(default_factory=dict, repr=False)

    def splits(self, cut: Cut = DEFAULT_CUT) -> LazySplits:
        """Return the splits. Data without any is cut by the rule and seed of `cut`, then train by its validation."""
        if cut not in self.cuts:
            whole = self.uncut_splits(cut)
            parts = LazySplits([name for name in whole if name != ALL_IMAGES], whole.__getitem__)
            self.cuts[cut] = with_validation(parts, cut)
        return self.cuts[cut]

    def take(self, split: str, cut: Cut = DEFAULT_CUT) -> Dataset:
        """Return one split, or with "all" every image of data that has no parts.

        Raise `UserError` with the nearest name where there is no such split.
        """
        return take_split(self.uncut_splits(cut) if split == ALL_IMAGES else self.splits(cut), split, self.name)

    def uncut_splits(self, cut: Cut) -> LazySplits:
        """Return the splits as they are there, before any share of train is cut off."""
        key = replace(cut, validation=0.0)
        if key not in self.whole:
            self.whole[key] = open_uncut(self.name, self.context, key)
        return self.whole[key]


def take_split(splits: LazySplits, split: str, data: str) -> Dataset:
    """Return one of the splits of `data`. Raise `UserError` with the nearest name where it is none of them."""
    if split not in splits:
        raise UserError(
            f"{data} has no split {split!r}{suggestion(split, [name for name in splits if name != ALL_IMAGES])}"
        )
    return splits[split]


def open_splits(data: str, context: Context, cut: Cut = DEFAULT_CUT) -> LazySplits:
    """Return the splits of a named data set or, where no set has that name, of the folder or table `data`.

    Its files are listed once. Data without splits is cut by the rule and seed of `cut`, and any data by its share for
    validation, as in `with_validation`.
    """
    return OpenData(data, context).splits(cut)


def open_uncut(data: str, context: Context, cut: Cut) -> LazySplits:
    """Return the splits of `data` as they are there, before any share of train is cut off."""
    found = dataset_table(context)
    path = Path(os.path.expanduser(check_data_name(data)))
    if data in found.entries and not is_for_paths(data, found[data]):
        return open_by_name(found[data], data, context, cut)
    entry = next((e for e in found.entries.values() if e.suffix and path.suffix.lower() == e.suffix), None)
    if path.is_dir() or entry is None:
        entry = found[FOLDER_ENTRY]
    if path.exists() or is_path(data) or (entry.suffix and path.suffix):
        check_not_idx(path)
        opened = entry.open(DataLocation(context.store, path, cut.seed, cut.rule, context.most_pixels))
        return LazySplits(tuple(opened), opened.__getitem__)
    close = suggestion(data, {name for name, entry in found.entries.items() if not is_for_paths(name, entry)})
    failed = "".join(f"\n  not imported: {failure}" for failure in found.failures)
    wanted = "or a folder with one folder per class, or a CSV file; name one with --data"
    raise UserError(f"no data set is named {data!r}{close}, {wanted}{failed}")


def open_by_name(entry: DatasetEntry, data: str, context: Context, cut: Cut) -> LazySplits:
    """Return the splits of a named data set; where it cannot be read, add that a folder of its name is there."""

    def read(split: str) -> Dataset:
        try:
            return opened[split]
        except UserError as error:  # its files are not in the store, and perhaps the folder was meant
            raise UserError("\n".join([str(error), *shadowed_folder_note(data, context)])) from None

    opened = entry.open(DataLocation(context.store, None, cut.seed, cut.rule, context.most_pixels))
    return LazySplits(tuple(opened), read)


def is_for_paths(name: str, entry: DatasetEntry) -> bool:
    """Return whether an entry reads the user's own paths and is not opened by name."""
    return name == FOLDER_ENTRY or bool(entry.suffix)


def canonical_name(data: str, context: Context) -> str:
    """Return the one spelling of a data set's name or of a folder's path: "photos" for "photos/" and "./photos"."""
    found = dataset_table(context).entries
    if data in found:
        return data
    path = os.path.normpath(os.path.expanduser(check_data_name(data)))
    return os.path.join(".", path) if path in found else path


def check_data_name(data: str) -> str:
    """Return `data`; raise `UserError` where it is empty, which would be the current folder, or a URL."""
    if not data:
        raise UserError("--data is empty; name a data set or a folder with one folder per class")
    if data.startswith("file:"):
        raise UserError(f"--data {data} is a URL; give the folder's path, which begins with / where it is absolute")
    return data


def shadowed_folder_note(data: str, context: Context) -> tuple[str, ...]:
    """Return a sentence where a data set of ours is taken though a folder of its name is there."""
    if data == FOLDER_ENTRY or data not in dataset_table(context).entries or not Path(data).is_dir():
        return ()
    return (f"{data} is the data set of this name, and the folder {data} here is not read; for that give ./{data}",)


def is_path(data: str) -> bool:
    """Whether `data` can only be meant as a path."""
    separators = [os.sep, os.altsep] if os.altsep else [os.sep]
    return data.startswith(("~", ".")) or any(separator in data for separator in separators)


def check_not_idx(path: Path) -> None:
    """A folder of IDX files is a `UserError` that says where they belong."""
    names = [file.name for file in path.glob("*-ubyte*")] if path.is_dir() else []
    if names:
        raise UserError(
            f"{path} holds IDX files ({sorted(names)[0]}), not folders of images; "
            "move it to mnist/ or fashion-mnist/ in the store and give that name as --data"
        )


def find_unreadable(dataset: Dataset, workers: int = 0) -> tuple[Refused, ...]:
    """Every image that cannot be used, found by decoding all of them."""
    if dataset.array is not None:
        return ()
    items = decode_in_order(dataset, np.arange(len(dataset)), workers)
    return tuple(Refused(item.path, item.code, item.detail) for item in items if isinstance(item, BadImage))
