"""The user's own images, listed in a CSV file: a row an image, with its label or its labels.

    image,labels              image,label,split
    a.png,cat;dog             photos/1.jpg,cat,train
    b.png,                    photos/2.jpg,dog,test

A column `label` gives each image one class. A column `labels` gives it any number, with ";" or "|" between them; one
after a question mark was not judged. Paths are relative to the file's folder. Without a column `split` the images are
cut by a hash of (split seed, name), those with one label each class by class.
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
from imclass.data.names import SPLITS, is_address, split_of
from imclass.data.sets.folder import FolderDataset
from imclass.data.source import ALL_IMAGES, DataLocation, DatasetEntry, LazySplits
from imclass.data.subset import lowest_ranked
from imclass.store.digests import open_digests

KNOWN_COLUMNS = ("image", "label", "labels", "split")
SEPARATORS = ",;\t"  # of columns: Excel writes semicolons where the comma is a decimal point
NOT_JUDGED = "?"


@dataclass(frozen=True)
class TableRow:
    """A line of the file: its number, the image's path, its labels with their marks, and its split if it has one."""

    line: int
    image: str
    marks: Mapping[str, int]  # 1: yes, -1: not judged
    split: str = ""


@dataclass(frozen=True)
class ImageTable:
    """A file of images and labels. `several` is whether an image may have any number of labels."""

    path: Path
    rows: tuple[TableRow, ...]  # sorted by image
    several: bool
    classes: tuple[str, ...]
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # positions of rows by split
    rule: str = ""
    notes: tuple[str, ...] = ()

    def targets(self, positions: Sequence[int]) -> Targets:
        """Return the targets of some rows."""
        place = {name: k for k, name in enumerate(self.classes)}
        if not self.several:
            return OneOf(np.array([place[name] for i in positions for name in self.rows[i].marks], np.int64))
        marks = np.zeros((len(positions), len(self.classes)), np.int8)
        for n, i in enumerate(positions):
            for name, mark in self.rows[i].marks.items():
                marks[n, place[name]] = mark
        return AnyOf(marks)


def open_table(location: DataLocation) -> LazySplits:
    """Return the splits of the CSV file at `location.path`; "all" is every image where it names no splits.

    The images are sorted by name. Mistakes are `UserError`s that name the file and the line.
    """
    if location.path is None:
        raise UserError("'csv' is read from a path; give the path of the file as --data")
    table = read_table(location.path, location)
    return LazySplits(tuple(table.parts), partial(open_table_split, table, location))


def open_table_split(table: ImageTable, location: DataLocation, split: str) -> FolderDataset:
    """Return the images of one split of a table."""
    positions = table.parts[split]
    return FolderDataset(
        root=table.path.parent,
        base=table.path.parent.resolve(),
        files=tuple(table.rows[i].image for i in positions),
        targets=table.targets(positions),
        classes=table.classes,
        splits=tuple(name for name in table.parts if name != ALL_IMAGES),
        split=split,
        origin=Origin(table.path.name, str(table.path.resolve()), table.rule, notes=table.notes),
        digests=open_digests(location.store),
        most_pixels=location.most_pixels,
    )


def read_table(path: Path, location: DataLocation) -> ImageTable:
    """Return the content of a CSV file. Raise `UserError` for anything wrong with it."""
    lines = lines_of(path)
    _, header = next(lines, (1, []))
    heads = [cell.strip().lower() for cell in header]
    check_header(path, heads)
    several = "labels" in heads
    rows = tuple(sorted(image_rows(path, heads, lines), key=lambda row: (nfc_form(row.image), row.image)))
    check_rows(path, rows)
    classes = tuple(sorted({name for row in rows for name in row.marks}))
    if len(classes) < 2:
        found = list_names(classes) or "none"
        raise UserError(f"{path}: a classifier needs at least two classes, and its labels name {found}; add some")
    unread = [head for head in heads if head not in KNOWN_COLUMNS]
    notes = [f"columns that are not read: {list_names(unread)}"] if unread else []
    whole = ImageTable(path, rows, several, classes)
    if "split" in heads:
        table = replace(whole, parts=parts_by_name(path, rows), rule="table")
    else:
        share = 100 * location.split.test
        rule = f"hash {100 - share:g}/{share:g}, seed {location.split_seed}"
        table = replace(whole, parts=parts_by_hash(whole, location), rule=rule)
    return replace(table, notes=(*notes, *surprise_notes(table)))


def lines_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that has any. Raise `UserError` for a file that is no such table."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8; save it as CSV UTF-8") from None
    except OSError as error:
        there = [file.name for file in path.parent.glob("*.csv")] if path.parent.is_dir() else []
        raise UserError(f"{path} cannot be read: {error.strerror}{suggestion(path.name, there)}") from None
    first = text.split("\n", 1)[0]
    delimiter = next((separator for separator in SEPARATORS if separator in first), ",")
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; correct the quotes") from None


def check_header(path: Path, heads: Sequence[str]) -> None:
    """Raise `UserError` unless the first line names the columns."""
    wanted = "the first line must name the columns image and label, or image and labels for any number of them"
    twice = [head for head in KNOWN_COLUMNS if heads.count(head) > 1]
    if twice:
        raise UserError(f"{path}, line 1: the column {twice[0]} is there twice; keep one")
    if "image" not in heads or not {"label", "labels"} & set(heads):
        raise UserError(f"{path}, line 1: the columns are {list_names(heads) or 'none'}; {wanted}")
    if {"label", "labels"} <= set(heads):
        raise UserError(f"{path}, line 1: there are both columns label and labels; keep one")


def image_rows(path: Path, heads: Sequence[str], lines: Iterator[tuple[int, list[str]]]) -> Iterator[TableRow]:
    """Yield the rows of a table. Raise `UserError` for a line that does not fit the header."""
    spellings: dict[str, tuple[str, int]] = {}
    for line, cells in lines:
        at = f"{path}, line {line}"
        if len(cells) != len(heads):
            quotes = "put several labels into one cell, with | between them, and quote what holds a separator"
            raise UserError(f"{at}: the header has {len(heads)} columns, and this line {len(cells)}; {quotes}")
        named = {head: cell.strip() for head, cell in zip(heads, cells, strict=True) if head in KNOWN_COLUMNS}
        marks = marks_in(named["labels"], at) if "labels" in named else {one_label(named["label"], at): 1}
        for name in marks:
            check_spelling(name, line, spellings, at)
        split = split_in(named["split"], at) if "split" in named else ""
        yield TableRow(line, image_in(named["image"], path.parent, at), marks, split)


def image_in(cell: str, folder: Path, at: str) -> str:
    """Return the path of an image. Raise `UserError` where there is no such file."""
    if not cell:
        raise UserError(f"{at}: there is no image; give its path relative to {folder}")
    if is_address(cell):
        raise UserError(f"{at}: {cell} is an address; save what is there as a file, and give its path")
    if os.path.isabs(cell):
        raise UserError(f"{at}: {cell} is an absolute path; give it relative to {folder}")
    if not (folder / cell).is_file():
        slashes = "; write it with /" if "\\" in cell else "; correct or remove the line"
        raise UserError(f"{at}: there is no file {folder / cell}{slashes}")
    return os.path.normpath(cell)


def marks_in(cell: str, at: str) -> dict[str, int]:
    """Return the labels in a cell with their marks; none in an empty cell. Raise `UserError` for an empty label."""
    marks: dict[str, int] = {}
    for word in cell.replace("|", ";").split(";") if cell else ():
        judged = not word.strip().startswith(NOT_JUDGED)
        name = nfc_form(word.strip().removeprefix(NOT_JUDGED).strip())
        if not name:
            raise UserError(f"{at}: {cell!r} has an empty label; remove the separator too much")
        if name in marks:
            raise UserError(f"{at}: label {name!r} is there twice; keep one")
        marks[name] = 1 if judged else -1
    return marks


def one_label(cell: str, at: str) -> str:
    """Return the one label in a cell. Raise `UserError` where there is none, or there are several."""
    if not cell:
        raise UserError(f"{at}: there is no label; give one, or call the column labels if images may have none")
    if ";" in cell or "|" in cell:
        raise UserError(f"{at}: {cell!r} is more than one label; call the column labels, which may hold any number")
    return nfc_form(cell)


def check_spelling(name: str, line: int, spellings: dict[str, tuple[str, int]], at: str) -> None:
    """Raise `UserError` for a label that differs from an earlier one in case or spaces alone."""
    other, there = spellings.setdefault(" ".join(name.casefold().split()), (name, line))
    if other != name:
        raise UserError(f"{at}: label {name!r} is {other!r} of line {there} but for case or spaces; write one for both")


def split_in(cell: str, at: str) -> str:
    """Return the split that a cell names. Raise `UserError` where it names none."""
    found = split_of(cell)
    if found is None:
        raise UserError(f"{at}: the split is {cell!r}; it must be one of {', '.join(SPLITS)}")
    return found


def check_rows(path: Path, rows: Sequence[TableRow]) -> None:
    """Raise `UserError` where there are none, or two of one image."""
    if not rows:
        raise UserError(f"{path} has a header and no rows; add a line for each image")
    for one, other in itertools.pairwise(rows):
        if one.image == other.image:
            first, second = sorted((one.line, other.line))
            fix = "keep one, with all its labels"
            raise UserError(f"{path}, line {second}: {one.image} is in line {first} already; {fix}")


def parts_by_name(path: Path, rows: Sequence[TableRow]) -> dict[str, tuple[int, ...]]:
    """Return the positions of the rows of each split. Raise `UserError` for a label that cannot be learned."""
    parts = {split: tuple(i for i, row in enumerate(rows) if row.split == split) for split in SPLITS}
    if not parts["train"]:
        raise UserError(f"{path}: no row has the split train; mark the images to learn from")
    learned = {name for i in parts["train"] for name, mark in rows[i].marks.items() if mark == 1}
    for row in rows:
        unknown = [name for name, mark in row.marks.items() if mark == 1 and name not in learned]
        if unknown:
            why = f"no image of the split train has the label {unknown[0]!r}{suggestion(unknown[0], learned)}"
            raise UserError(f"{path}, line {row.line}: {why}; correct it, or add training images")
    return {split: positions for split, positions in parts.items() if positions}


def parts_by_hash(whole: ImageTable, location: DataLocation) -> dict[str, tuple[int, ...]]:
    """Return the positions of the rows of train and test, cut by a hash, and of all."""
    names, out = [row.image for row in whole.rows], set[int]()
    for positions in whole.targets(range(len(names))).strata(len(whole.classes)):
        places = positions.tolist()
        out |= {places[i] for i in lowest_ranked([names[i] for i in places], location.split_seed, location.split.test)}
    train = tuple(i for i in range(len(names)) if i not in out)
    return {"train": train, "test": tuple(sorted(out)), ALL_IMAGES: tuple(range(len(names)))}


def surprise_notes(table: ImageTable) -> Iterator[str]:
    """Yield a sentence for each thing that may surprise: labels with commas, classes and images that have nothing."""
    commas = [name for name in table.classes if "," in name]
    if commas and table.several:
        what = f"{list_names(commas, 3)} {'are labels' if commas[1:] else 'is one label'}"
        yield f"{what}: several stand with ; or | between them, not with a comma"
    for split, positions in ((name, rows) for name, rows in table.parts.items() if name != ALL_IMAGES):
        held = {name for i in positions for name, mark in table.rows[i].marks.items() if mark == 1}
        missing = [name for name in table.classes if name not in held]
        if missing:
            yield f"{split} has no images of {list_names(missing)}"
    bare = sum(not row.marks for row in table.rows)
    if bare:
        yield f"{bare:,} of {len(table.rows):,} images have no label"
    unknown = sum(mark < 0 for row in table.rows for mark in row.marks.values())
    if unknown:
        yield f"{unknown:,} labels of images were not judged, and count neither way"


DATASETS = {
    "csv": DatasetEntry(
        open_table,
        "your own images, listed with their labels in a CSV file: give its path",
        ("train", "test"),
        suffix=".csv",
    )
}
