"""Data sets, opened by name or by path."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from imclass.core.config import Cut, Division, Share
from imclass.core.contracts import Dataset, Refused
from imclass.core.errors import BadImage, UserError
from imclass.core.tables import EntryTable
from imclass.core.text import suggestion
from imclass.data.relabel import with_classes
from imclass.data.source import ALL_IMAGES, DataLocation, DatasetEntry, LazySplits
from imclass.data.subset import with_division, with_validation
from imclass.data.threads import decode_in_order
from imclass.store.context import Context, find_in

FOLDER_ENTRY = "folder"  # the entry that reads the user's folders
DEFAULT_CUT = Cut()


def dataset_table(context: Context | None = None) -> EntryTable:
    """Return the table of all data sets, including those from plugins."""
    return find_in(context, "imclass.data.sets", "DATASETS", "data set")


def open_split(data: str, split: str, context: Context, cut: Cut = DEFAULT_CUT) -> Dataset:
    """Return one split of `data`. If `data` has no splits of its own, "all" contains every image.

    If the data set or the split does not exist, raise a `UserError` that suggests the nearest name.
    """
    return OpenData(data, context).take(split, cut)


@dataclass(frozen=True, eq=False)
class OpenData:
    """A data set, folder or table from which any split can be taken.

    The files are listed once for each split rule and seed.
    """

    name: str
    context: Context
    uncut: dict[Cut, LazySplits] = field(default_factory=dict, repr=False)  # keyed by the cut with `validation` 0
    cuts: dict[Cut, LazySplits] = field(default_factory=dict, repr=False)

    def splits(self, cut: Cut = DEFAULT_CUT) -> LazySplits:
        """Return the splits.

        First, the data is divided by the rule and seed in `cut`, if the rule applies to it. Then the classes are
        chosen. Finally, a validation split is taken from train if `cut` asks for one.
        """
        if cut not in self.cuts:
            uncut = self.uncut_splits(cut)
            splits = LazySplits([name for name in uncut if name != ALL_IMAGES], uncut.__getitem__)
            self.cuts[cut] = with_validation(splits, cut)
        return self.cuts[cut]

    def take(self, split: str, cut: Cut = DEFAULT_CUT) -> Dataset:
        """Return one split. If the data has no splits of its own, "all" contains every image.

        If the split does not exist, raise a `UserError` that suggests the nearest name.
        """
        return take_split(self.uncut_splits(cut) if split == ALL_IMAGES else self.splits(cut), split, self.name)

    def uncut_splits(self, cut: Cut) -> LazySplits:
        """Return the splits with the chosen classes, before a validation split is taken from train."""
        key = replace(cut, validation=0.0)
        if key not in self.uncut:
            whole = key.of_all_classes
            if isinstance(key.rule, Division):
                divided = self.uncut_splits(replace(key, rule=Share()))
                self.uncut[key] = with_division(divided, key.rule, key.seed)
            elif key != whole:
                self.uncut[key] = with_classes(self.uncut_splits(whole), key, self.name)
            else:
                self.uncut[key] = open_uncut(self.name, self.context, key)
        return self.uncut[key]


def take_split(splits: LazySplits, split: str, data: str) -> Dataset:
    """Return one split of `data`.

    If the split does not exist, raise a `UserError` that suggests the nearest name.
    """
    if split not in splits:
        names = [name for name in splits if name != ALL_IMAGES]
        raise UserError(f"{data} has no split {split!r}{suggestion(split, names)}")
    return splits[split]


def open_splits(data: str, context: Context, cut: Cut = DEFAULT_CUT) -> LazySplits:
    """Return the splits of the data set named `data`. If there is none, `data` is the path of a folder, table or list.

    The files are listed once. First, the data is divided by the rule and seed in `cut`, if the rule applies to it. Then
    `with_classes` chooses the classes. Finally, `with_validation` takes a validation split from train if `cut` asks for
    one.
    """
    return OpenData(data, context).splits(cut)


def open_uncut(data: str, context: Context, cut: Cut) -> LazySplits:
    """Return the splits of `data` as they are before a validation split is taken from train."""
    if not isinstance(cut.rule, Share):
        raise TypeError(f"a data set cannot be opened with the rule {cut.rule}")
    location = DataLocation(context.store, None, cut.seed, cut.rule, context.max_pixels)
    table = dataset_table(context)
    path = Path(os.path.expanduser(check_data_name(data)))
    if data in table.entries and not is_for_paths(data, table[data]):
        return open_by_name(table[data], data, location, context)
    entry = next((e for e in table.entries.values() if e.suffix and path.suffix.lower() == e.suffix), None)
    if path.is_dir() or entry is None:
        layouts = [e for e in table.entries.values() if e.recognises and path.is_dir() and e.recognises(path)]
        entry = layouts[0] if layouts else table[FOLDER_ENTRY]
    if path.exists() or is_path(data) or (entry.suffix and path.suffix):
        check_not_idx(path)
        opened = entry.open(replace(location, path=path))
        return LazySplits(tuple(opened), opened.__getitem__)
    nearest = suggestion(data, {name for name, entry in table.entries.items() if not is_for_paths(name, entry)})
    failures = "".join(f"\n  not imported: {failure}" for failure in table.failures)
    fix = "Set --data to the name of a data set, a folder with one folder per class, a CSV file, or a list (.txt)"
    stop = "" if nearest.endswith("?") else "."
    raise UserError(f"no data set is named {data!r}{nearest}{stop} {fix}{failures}")


def open_by_name(entry: DatasetEntry, data: str, location: DataLocation, context: Context) -> LazySplits:
    """Return the splits of a named data set.

    If the data set cannot be read and there is a folder with the same name, the error mentions the folder.
    """

    def read(split: str) -> Dataset:
        try:
            return opened[split]
        except UserError as error:
            # The data set's files are not in the store. The user may have meant the folder.
            raise UserError("\n".join([str(error), *shadowed_folder_note(data, context)])) from None

    opened = entry.open(location)
    return LazySplits(tuple(opened), read)


def is_for_paths(name: str, entry: DatasetEntry) -> bool:
    """Return whether an entry reads the user's own files, which are opened by path and not by the entry's name."""
    return name == FOLDER_ENTRY or bool(entry.suffix)


def canonical_name(data: str, context: Context) -> str:
    """Return the canonical form of a data set's name or of a path: "photos" for "photos/" and for "./photos".

    A path that would equal the name of a data set begins with "./", so that it is not mistaken for that name.
    """
    entries = dataset_table(context).entries
    if data in entries:
        return data
    path = os.path.normpath(os.path.expanduser(check_data_name(data)))
    return os.path.join(".", path) if path in entries else path


def check_data_name(data: str) -> str:
    """Return `data` unchanged. Raise `UserError` if it is empty or a "file:" URL.

    An empty name must be refused because `Path("")` is the current folder.
    """
    if not data:
        raise UserError("--data is empty; specify a data set or a folder with one folder per class")
    if data.startswith("file:"):
        raise UserError(f"--data {data} is a URL; give the path of the folder, such as /home/me/photos")
    return data


def shadowed_folder_note(data: str, context: Context) -> tuple[str, ...]:
    """Return a note if there is a folder with the name of the data set `data`, because such a folder is not read."""
    if data == FOLDER_ENTRY or data not in dataset_table(context).entries or not Path(data).is_dir():
        return ()
    return (f"{data} means the data set, so the folder {data} is not read; to read the folder, give ./{data}",)


def is_path(data: str) -> bool:
    """Return whether `data` can only be a path, and not the name of a data set."""
    separators = [os.sep, os.altsep] if os.altsep else [os.sep]
    return data.startswith(("~", ".")) or any(separator in data for separator in separators)


def check_not_idx(path: Path) -> None:
    """Raise `UserError` if `path` is a folder of IDX files. The message names the right folders in the store."""
    names = [file.name for file in path.glob("*-ubyte*")] if path.is_dir() else []
    if names:
        raise UserError(
            f"{path} contains IDX files ({sorted(names)[0]}) instead of folders of images; "
            "move the files to mnist/ or fashion-mnist/ in the store, and give that name as --data"
        )


def find_unreadable(dataset: Dataset, workers: int = 0) -> tuple[Refused, ...]:
    """Decode every image, and return the refused ones."""
    if dataset.array is not None:
        return ()
    items = decode_in_order(dataset, np.arange(len(dataset)), workers)
    return tuple(Refused(item.path, item.code, item.detail) for item in items if isinstance(item, BadImage))
