"""A reader for files of MATLAB up to version 7, in which some data sets publish their labels."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imclass.core.errors import UserError

MAX_MAT_BYTES = 1 << 24  # unpacked; published lists have less than a megabyte
HEADER_BYTES = 128
COMPRESSED = 15  # the type of an element that contains a compressed one


def read_mat(path: Path, names: Sequence[str], archive: str) -> list[np.ndarray]:
    """Return the variables with these names. Cells become arrays of objects.

    If the file is missing, damaged or unusually large, or has no such variable, raise a `UserError` that says which
    `archive` contains it.
    """
    from scipy.io import loadmat  # imported here, because it takes a while and few data sets need it

    fix = f"replace it with that in {archive}"
    if not path.is_file():
        raise UserError(f"{path} does not exist; unpack {archive} again, or give the folder that contains the file")
    try:
        content = read_bounded(path)
        check_unpacked_size(content)
        found: dict[str, Any] = loadmat(io.BytesIO(content), variable_names=list(names))
    except Exception as error:  # SciPy documents no list of the errors that a damaged file raises
        raise UserError(f"{path} is not a MATLAB file that can be read ({error}); {fix}") from None
    missing = [name for name in names if not isinstance(found.get(name), np.ndarray)]
    if missing:
        raise UserError(f"{path} has no variable {missing[0]!r}; {fix}")
    return [found[name] for name in names]


def read_bounded(path: Path) -> bytes:
    """Return the bytes of a file. Raise `ValueError` if there are more than `MAX_MAT_BYTES`."""
    with path.open("rb") as file:
        content = file.read(MAX_MAT_BYTES + 1)
    if len(content) > MAX_MAT_BYTES:
        raise ValueError("it is too large")
    return content


def check_unpacked_size(content: bytes) -> None:
    """Raise `ValueError` if the compressed elements of a file unpack to more than `MAX_MAT_BYTES`."""
    order = ">" if content[126:128] == b"MI" else "<"
    start, total = HEADER_BYTES, 0
    while start + 8 <= len(content):
        kind, size = struct.unpack(f"{order}II", content[start : start + 8])
        start += 8
        if kind == COMPRESSED:
            total += len(zlib.decompressobj().decompress(content[start : start + size], MAX_MAT_BYTES + 1))
        if total > MAX_MAT_BYTES:
            raise ValueError("it unpacks to too much data")
        start += size


def whole_numbers(values: np.ndarray, name: str, path: Path) -> list[int]:
    """Return the values of a variable as whole numbers. Raise `UserError` unless they are."""
    flat = values.ravel()
    if flat.dtype.kind not in "uif" or not len(flat) or not np.all(np.isfinite(flat)) or np.any(flat != np.rint(flat)):
        raise UserError(f"{path}: {name!r} has entries that are not whole numbers; replace it with the published file")
    return [int(value) for value in flat]


def texts(values: np.ndarray, name: str, path: Path) -> list[str]:
    """Return the texts in the cells of a variable. Raise `UserError` if one contains anything else."""
    found = []
    for cell in values.ravel():
        inner = np.asarray(cell).ravel()
        if inner.dtype.kind != "U" or len(inner) != 1:
            raise UserError(f"{path}: {name!r} has a cell without a text; replace it with the published file")
        found.append(str(inner[0]))
    return found
