"""The user's own images, listed in a CSV file with one row for each image and its label or labels.

    image,labels              image,label,split
    a.png,cat;dog             photos/1.jpg,cat,train
    b.png,                    photos/2.jpg,dog,test

A `label` column gives each image one class. A `labels` column gives each image any number of labels, separated by ";"
or "|". A question mark before a label means that the image was not annotated for that label. Paths are relative to the
CSV file's folder. Without a `split` column, the images are split by a hash of (split seed, name), class by class if
there is a `label` column.
"""

import csv
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf, Targets
from imclass.core.text import list_names, nfc_form, suggestion
from imclass.data.names import SPLITS, is_url, split_of
from imclass.data.sets.folder import FolderDataset
from imclass.data.source import ALL_IMAGES, DataLocation, DatasetEntry, LazySplits
from imclass.data.subset import lowest_ranked
from imclass.store.digests import open_digests

KNOWN_COLUMNS = ("image", "label", "labels", "split")
SEPARATORS = ",;\t"  # of columns; Excel writes semicolons where the decimal separator is a comma
NOT_JUDGED = "?"


@dataclass(frozen=True)
class TableRow:
    """A row of a CSV file."""

    line: int  # number of the line in the file
    image: str  # path relative to the file's folder
    marks: Mapping[str, int]  # keyed by label; 1: yes, -1: not annotated
    split: str = ""  # "" if the file has no `split` column


@dataclass(frozen=True)
class ImageTable:
    """A CSV file that lists images and their labels."""

    path: Path
    rows: tuple[TableRow, ...]  # sorted by image
    is_multi_label: bool  # whether an image may have any number of labels
    classes: tuple[str, ...]
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # positions of rows, keyed by split
    rule: str = ""  # how the table was split, as in `Origin`
    notes: tuple[str, ...] = ()

    def targets(self, positions: Sequence[int]) -> Targets:
        """Return the targets of the rows at these positions."""
        index = {name: k for k, name in enumerate(self.classes)}
        if not self.is_multi_label:
            return OneOf(np.array([index[name] for i in positions for name in self.rows[i].marks], np.int64))
        marks = np.zeros((len(positions), len(self.classes)), np.int8)
        for n, i in enumerate(positions):
            for name, mark in self.rows[i].marks.items():
                marks[n, index[name]] = mark
        return AnyOf(marks)


def open_table(location: DataLocation) -> LazySplits:
    """Return the splits of the CSV file at `location.path`. Their images are sorted by name.

    A file without a `split` column is split by a hash, and also has the split "all", which contains every image. If
    the file contains a mistake, raise a `UserError` that names the file and, if possible, the line.
    """
    if location.path is None:
        raise UserError("'csv' is a kind of data, not a path; give the path of the file as --data")
    return splits_of(read_table(location.path, location), location)


def splits_of(table: ImageTable, location: DataLocation) -> LazySplits:
    """Return the splits of a table."""
    return LazySplits(tuple(table.parts), partial(open_table_split, table, location))


def open_table_split(table: ImageTable, location: DataLocation, split: str) -> FolderDataset:
    """Return one split of a table."""
    positions = table.parts[split]
    return FolderDataset(
        root=table.path.parent,
        base=table.path.parent.resolve(),
        files=tuple(table.rows[i].image for i in positions),
        targets=table.targets(positions),
        classes=table.classes,
        splits=tuple(name for name in table.parts if name != ALL_IMAGES),
        split=split,
        origin=Origin(
            table.path.name,
            str(table.path.resolve()),
            table.rule,
            notes=table.notes,
            has_splits=ALL_IMAGES not in table.parts,
        ),
        digests=open_digests(location.store),
        max_pixels=location.max_pixels,
    )


def read_table(path: Path, location: DataLocation) -> ImageTable:
    """Read a CSV file. Raise `UserError` if it contains a mistake."""
    lines = lines_of(path)
    _, header = next(lines, (1, []))
    columns = [cell.strip().lower() for cell in header]
    check_header(path, columns)
    table = sort_rows(path, image_rows(path, columns, lines), "labels" in columns)
    ignored = [column for column in columns if column not in KNOWN_COLUMNS]
    notes = [f"columns that are not read: {list_names(ignored)}"] if ignored else []
    table = cut_by_column(table) if "split" in columns else cut_by_hash(table, location)
    return replace(table, notes=(*notes, *surprise_notes(table)))


def sort_rows(path: Path, unsorted: Iterator[TableRow], is_multi_label: bool) -> ImageTable:
    """Return a table without splits, with its rows sorted by image. Raise `UserError` if the rows are invalid."""
    rows = tuple(sorted(unsorted, key=lambda row: (nfc_form(row.image), row.image)))
    check_rows(path, rows)
    classes = tuple(sorted({name for row in rows for name in row.marks}))
    if len(classes) < 2:
        names = list_names(classes) or "none"
        raise UserError(
            f"{path}: a classifier needs at least two classes, but the labels found are: {names}; add labels"
        )
    return ImageTable(path, rows, is_multi_label, classes)


def cut_by_column(table: ImageTable) -> ImageTable:
    """Return the table, divided into the splits that its rows name."""
    return replace(table, parts=parts_by_name(table.path, table.rows), rule="table")


def cut_by_hash(table: ImageTable, location: DataLocation) -> ImageTable:
    """Return the table, divided by a hash of (split seed, name)."""
    return replace(table, parts=parts_by_hash(table, location), rule=location.split.text(location.split_seed))


def lines_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not empty. Raise `UserError` if the file is not valid CSV."""
    text = text_of(path, "CSV UTF-8")
    first = text.split("\n", 1)[0]
    delimiter = next((separator for separator in SEPARATORS if separator in first), ",")
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; correct the quotes") from None


def text_of(path: Path, form: str) -> str:
    """Return the text in a file. Raise `UserError` if it cannot be read; if it is not UTF-8, the fix names `form`."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as {form}") from None
    except OSError as error:
        siblings = [file.name for file in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
        raise UserError(f"{path} cannot be read: {error.strerror}{suggestion(path.name, siblings)}") from None


def check_header(path: Path, columns: Sequence[str]) -> None:
    """Raise `UserError` unless the columns include `image` and either `label` or `labels`, each of them once."""
    fix = "the first line must contain image and label, or image and labels for any number of labels"
    twice = [column for column in KNOWN_COLUMNS if columns.count(column) > 1]
    if twice:
        raise UserError(f"{path}, line 1: the column {twice[0]!r} occurs twice; keep one")
    if "image" not in columns or not {"label", "labels"} & set(columns):
        problem = f"the columns are {list_names(columns)}" if columns else "it has no columns"
        raise UserError(f"{path}, line 1: {problem}; {fix}")
    if {"label", "labels"} <= set(columns):
        raise UserError(f"{path}, line 1: there are both a label and a labels column; keep one")


def image_rows(path: Path, columns: Sequence[str], lines: Iterator[tuple[int, list[str]]]) -> Iterator[TableRow]:
    """Yield the rows of a table. Raise `UserError` if a line contains a mistake."""
    spellings: dict[str, tuple[str, int]] = {}  # the first spelling of each label, and its line
    for line, cells in lines:
        at = f"{path}, line {line}"
        if len(cells) != len(columns):
            fix = (
                "put several labels into one cell, separated by |, and quote any cell that contains a column separator"
            )
            raise UserError(f"{at}: the header has {len(columns)} columns, but this line has {len(cells)}; {fix}")
        by_name = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if name in KNOWN_COLUMNS}
        marks = marks_in(by_name["labels"], at) if "labels" in by_name else {one_label(by_name["label"], at): 1}
        for name in marks:
            check_spelling(name, line, spellings, at)
        split = split_in(by_name["split"], at) if "split" in by_name else ""
        yield TableRow(line, image_in(by_name["image"], path.parent, at), marks, split)


def image_in(cell: str, folder: Path, at: str) -> str:
    """Return the path in a cell. Raise `UserError` unless it is the path of a file, relative to `folder`."""
    if not cell:
        raise UserError(f"{at}: the image is missing; give its path relative to {folder}")
    if is_url(cell):
        raise UserError(f"{at}: {cell} is a URL; save the image as a file, and give its path")
    if os.path.isabs(cell):
        raise UserError(f"{at}: {cell} is an absolute path; give it relative to {folder}")
    if not (folder / cell).is_file():
        fix = "write the path with / instead of \\" if "\\" in cell else "correct or remove the line"
        raise UserError(f"{at}: the file {folder / cell} does not exist; {fix}")
    return os.path.normpath(cell)


def marks_in(cell: str, at: str) -> dict[str, int]:
    """Return the `marks` of the labels in a cell. Raise `UserError` if a label is empty or repeated."""
    marks: dict[str, int] = {}
    for word in cell.replace("|", ";").split(";") if cell else ():
        judged = not word.strip().startswith(NOT_JUDGED)
        name = nfc_form(word.strip().removeprefix(NOT_JUDGED).strip())
        if not name:
            raise UserError(f"{at}: {cell!r} has an empty label; remove the extra separator")
        if name in marks:
            raise UserError(f"{at}: label {name!r} occurs twice; keep one")
        marks[name] = 1 if judged else -1
    return marks


def one_label(cell: str, at: str) -> str:
    """Return the only label in a cell. Raise `UserError` if there is no label or more than one."""
    if not cell:
        raise UserError(f"{at}: the label is missing; give one, or call the column 'labels' if images may have none")
    if ";" in cell or "|" in cell:
        raise UserError(f"{at}: {cell!r} is more than one label; call the column 'labels' to allow several")
    return nfc_form(cell)


def check_spelling(name: str, line: int, spellings: dict[str, tuple[str, int]], at: str) -> None:
    """Raise `UserError` if a label differs from an earlier one only in case or spacing."""
    earlier, earlier_line = spellings.setdefault(" ".join(name.casefold().split()), (name, line))
    if earlier != name:
        raise UserError(
            f"{at}: label {name!r} differs from {earlier!r} on line {earlier_line} only in case or spaces; "
            "use one spelling for both"
        )


def split_in(cell: str, at: str) -> str:
    """Return the split named in a cell. Raise `UserError` if the cell does not name a split."""
    found = split_of(cell)
    if found is None:
        raise UserError(f"{at}: the split is {cell!r}; it must be one of {', '.join(SPLITS)}")
    return found


def check_rows(path: Path, rows: Sequence[TableRow]) -> None:
    """Raise `UserError` if `rows`, sorted by image, is empty or contains two rows for one image."""
    if not rows:
        raise UserError(f"{path} has no rows; add a line for each image")
    for before, row in itertools.pairwise(rows):
        if before.image == row.image:
            first, second = sorted((before.line, row.line))
            fix = "keep one line, with all labels of the image"
            raise UserError(f"{path}, line {second}: {row.image} is already on line {first}; {fix}")


def parts_by_name(path: Path, rows: Sequence[TableRow]) -> dict[str, tuple[int, ...]]:
    """Return the positions of the rows in each split. Raise `UserError` if a label does not occur in train."""
    parts = {split: tuple(i for i, row in enumerate(rows) if row.split == split) for split in SPLITS}
    if not parts["train"]:
        raise UserError(f"{path}: no row has the split train; add the training images")
    learned = {name for i in parts["train"] for name, mark in rows[i].marks.items() if mark == 1}
    for row in rows:
        unknown = [name for name, mark in row.marks.items() if mark == 1 and name not in learned]
        if unknown:
            why = f"no image of the split train has the label {unknown[0]!r}{suggestion(unknown[0], learned)}"
            raise UserError(f"{path}, line {row.line}: {why}; correct the label, or add training images")
    return {split: positions for split, positions in parts.items() if positions}


def parts_by_hash(table: ImageTable, location: DataLocation) -> dict[str, tuple[int, ...]]:
    """Divide the rows into train and test by a hash of names. Return the positions in train, test and "all"."""
    names = [row.image for row in table.rows]
    held_out: set[int] = set()
    for stratum in table.targets(range(len(names))).strata(len(table.classes)):
        positions = stratum.tolist()
        ranked = lowest_ranked([names[i] for i in positions], location.split_seed, location.split.test)
        held_out |= {positions[i] for i in ranked}
    train = tuple(i for i in range(len(names)) if i not in held_out)
    return {"train": train, "test": tuple(sorted(held_out)), ALL_IMAGES: tuple(range(len(names)))}


def surprise_notes(table: ImageTable) -> Iterator[str]:
    """Yield notes on what may surprise the user, such as labels with commas or images without labels."""
    commas = [name for name in table.classes if "," in name]
    if commas and table.is_multi_label:
        labels = f"{list_names(commas, 3)} {'are single labels' if commas[1:] else 'is one label'}"
        yield f"{labels}, because labels are separated by ; or | and not by commas"
    for split, positions in table.parts.items():
        if split == ALL_IMAGES:
            continue
        present = {name for i in positions for name, mark in table.rows[i].marks.items() if mark == 1}
        missing = [name for name in table.classes if name not in present]
        if missing:
            yield f"{split} has no images of {list_names(missing)}"
    unlabelled = sum(not row.marks for row in table.rows)
    if unlabelled:
        yield f"{unlabelled:,} of {len(table.rows):,} images have no label"
    unjudged = sum(mark < 0 for row in table.rows for mark in row.marks.values())
    if unjudged:
        yield f"{unjudged:,} labels were not annotated and count neither as right nor as wrong"


DATASETS = {
    "csv": DatasetEntry(
        open_table,
        "your own images, listed with their labels in a CSV file: give its path",
        ("train", "test"),
        suffix=".csv",
    )
}
