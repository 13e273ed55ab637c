"""The user's own images, listed in a text file with one line for each image: its path, then its class.

    photos/1.jpg 0            photos/1.jpg<TAB>great tit
    photos/2.jpg 1            photos/2.jpg<TAB>blue tit

Other tools write such files, with names such as train_list.txt or val.txt. Without a tab, the class is what follows the
last space, so a path may contain spaces. A number is a class name like any other. Paths are relative to the file's
folder. The images are split by a hash of (split seed, name), class by class.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from imclass.core.errors import UserError
from imclass.core.text import nfc_form
from imclass.data.sets.table import (
    TableRow,
    check_spelling,
    cut_by_hash,
    image_in,
    sort_rows,
    splits_of,
    surprise_notes,
    text_of,
)
from imclass.data.source import DataLocation, DatasetEntry, LazySplits


def open_list(location: DataLocation) -> LazySplits:
    """Return the splits of the list at `location.path`, and the split "all", which contains every image.

    If there is any mistake in the file, raise a `UserError` that names the file and, if possible, the line.
    """
    if location.path is None:
        raise UserError("'list' is a kind of data, not a path; give the path of the file as --data")
    table = sort_rows(location.path, list_rows(location.path), is_multi_label=False)
    table = cut_by_hash(table, location)
    return splits_of(replace(table, notes=tuple(surprise_notes(table))), location)


def list_rows(path: Path) -> Iterator[TableRow]:
    """Yield a row for each line that is not empty. Raise `UserError` if a line is invalid."""
    spellings: dict[str, tuple[str, int]] = {}
    for line, text in enumerate(text_of(path, "UTF-8").splitlines(), 1):
        if not text.strip():
            continue
        at = f"{path}, line {line}"
        cells = text.strip().rsplit("\t" if "\t" in text.strip() else None, 1)
        if len(cells) < 2:
            raise UserError(f"{at}: {text.strip()!r} has no class; write the path, a tab, and the name of the class")
        name = nfc_form(cells[1].strip())
        check_spelling(name, line, spellings, at)
        yield TableRow(line, image_in(cells[0].strip(), path.parent, at), {name: 1})


DATASETS = {
    "list": DatasetEntry(
        open_list,
        "your own images, listed in a text file with a path and a class on each line: give its path",
        ("train", "test"),
        suffix=".txt",
    )
}
