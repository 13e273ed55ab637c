"""Variables of MATLAB files, and files that are damaged or unusually large."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from imclass.core.errors import UserError
from imclass.data.sets.mat_file import MAX_MAT_BYTES, check_unpacked_size, read_mat, texts, whole_numbers


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_are_read(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    cells = np.empty((2, 1), object)
    cells[:, 0] = ["a/b c.jpg", "ü.jpg"]
    content = {"labels": np.array([[3.0, 1.0]]), "files": cells, "other": np.zeros(3)}
    savemat(path, content, do_compression=compressed)
    labels, files = read_mat(path, ["labels", "files"], "a.tar")
    assert whole_numbers(labels, "labels", path) == [3, 1]
    assert texts(files, "files", path) == ["a/b c.jpg", "ü.jpg"]


@pytest.mark.parametrize("values", [[[1.5]], [[np.nan]], [["text"]], np.zeros((0, 0))])
def test_only_whole_numbers_are_accepted(values: object) -> None:
    with pytest.raises(UserError, match=r"a\.mat: 'labels' has entries that are not whole numbers; replace"):
        whole_numbers(np.array(values), "labels", Path("a.mat"))


def test_only_texts_are_accepted() -> None:
    for value in (np.array([1]), np.array(["a", "b"]), np.array([], "U1")):
        cells = np.empty(1, object)
        cells[0] = value
        with pytest.raises(UserError, match=r"a\.mat: 'files' has a cell without a text; replace"):
            texts(cells, "files", Path("a.mat"))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with pytest.raises(UserError, match=r"a\.mat does not exist; unpack a\.tar again"):
        read_mat(path, ["x"], "a.tar")
    savemat(path, {"x": np.arange(1000)}, do_compression=True)
    content = path.read_bytes()
    with pytest.raises(UserError, match=r"a\.mat has no variable 'y'; replace it with that in a\.tar"):
        read_mat(path, ["x", "y"], "a.tar")
    for damaged in (b"", b"\x89HDF\r\n\x1a\n" + bytes(600), content[:-40], content[:140] + bytes(50) + content[190:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.mat (is not a MATLAB file|has no variable).*; replace it with"):
            read_mat(path, ["x"], "a.tar")


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"x": np.zeros(MAX_MAT_BYTES, np.uint8)}, do_compression=True)
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="it unpacks to too much data"):
        read_mat(path, ["x"], "a.tar")
    with path.open("r+b") as file:
        file.truncate(MAX_MAT_BYTES + 1)
    with pytest.raises(UserError, match="it is too large"):
        read_mat(path, ["x"], "a.tar")


def test_sizes_are_read_in_either_byte_order() -> None:
    packed = zlib.compress(bytes(MAX_MAT_BYTES + 1))
    for order, mark in (("little", b"IM"), ("big", b"MI")):
        head = bytes(126) + mark
        element = (15).to_bytes(4, order) + len(packed).to_bytes(4, order) + packed  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="too much"):
            check_unpacked_size(head + element)
        check_unpacked_size(head)
