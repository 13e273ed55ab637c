"""Files of features: .npy (the array alone), .npz (with names and labels) and .csv. None of them contains pickles."""
# Tested in tests/app/features/test_extract.py

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imclass.core.errors import UserError
from imclass.core.files import atomic_writer, has_mark
from imclass.core.targets import AnyOf, OneOf
from imclass.core.text import escape_formula

if TYPE_CHECKING:
    from imclass.app.features.result import Features

CSV_ROWS = 256  # rows that are converted to text at a time
# A file may be replaced if its first bytes contain the mark of its format.
MARKS: Mapping[str, bytes] = {"npy": b"\x93NUMPY", "npz": b"features.npy", "csv": b"name,label,f0"}


def check_extension(path: Path, shape: tuple[int, ...]) -> str:
    """Return the format of a file, which is its extension: npy, npz or csv.

    `shape` is the shape of the features of one image. Raise `UserError` for an unknown extension, and for a CSV
    file if these features have more than one axis.
    """
    form = path.suffix.lower().removeprefix(".")
    if form not in MARKS:
        raise UserError(f"{path}: the file name must end in .npy, .npz or .csv; use {path.with_suffix('.npz')}")
    if form == "csv" and len(shape) > 1:
        raise UserError(
            f"{path}: the layer returns {' x '.join(map(str, shape))} numbers per image, but a line of a CSV "
            "file is a list; write .npy or .npz instead"
        )
    return form


def is_features_file(path: Path) -> bool:
    """Return whether the content of a file has the format of its extension. If so, the file may be replaced."""
    return has_mark(path, MARKS[path.suffix.lower().removeprefix(".")])


def write_features(found: "Features", path: Path) -> None:
    """Write features to `path`. A failure leaves the previous file unchanged."""
    form = check_extension(path, found.features.shape[1:])
    with atomic_writer(path) as file:
        if form == "npy":
            np.save(file, found.features, allow_pickle=False)
        elif form == "npz":
            np.savez(file, **npz_arrays(found))
        else:
            write_csv(found, io.TextIOWrapper(file, "utf-8", "surrogateescape", newline=""))


def npz_arrays(found: "Features") -> dict[str, Any]:
    """Return the arrays of an .npz file. The features come first, so that the file can be recognised."""
    targets = found.targets
    known = {"marks": targets.numpy()} if isinstance(targets, AnyOf) else {"labels": found.labels}
    return {
        "features": found.features,
        "names": np.array(found.names, np.str_),
        "ids": found.ids,
        **known,
        "classes": np.array(found.classes, np.str_),
        "json": np.array(json.dumps(dict(found.record))),
    }


def label_cells(found: "Features") -> list[str]:
    """Return the class names of each image, separated by semicolons. The text is "" for images without labels."""
    if isinstance(found.targets, OneOf):
        return [found.classes[label] for label in found.targets.numpy().tolist()]
    if found.targets is None:
        return [""] * len(found.names)
    marked = (np.flatnonzero(row == 1).tolist() for row in found.targets.numpy())
    return [";".join(found.classes[k] for k in row) for row in marked]


def write_csv(found: "Features", text: io.TextIOWrapper) -> None:
    """Write a line for each image: its name, its label and its numbers.

    The numbers have enough digits to restore the float32 values. A name that a spreadsheet would run as a formula gets
    a leading apostrophe.
    """
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "label", *(f"f{i}" for i in range(found.features.shape[1]))])
    labels = label_cells(found)
    for start in range(0, len(labels), CSV_ROWS):
        for i, row in enumerate(found.features[start : start + CSV_ROWS].tolist(), start):
            cells = (escape_formula(found.names[i]), escape_formula(labels[i]))
            writer.writerow([*cells, *(f"{number:.9g}" for number in row)])
    text.flush()
    text.detach()
