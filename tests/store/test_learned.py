"""Learned arrays are read back bit for bit, but only under their key and undamaged."""

from pathlib import Path

import numpy as np

from imclass.store.context import open_context
from imclass.store.learned import open_learned

ARRAYS = {"means_": np.arange(6, dtype=np.float32).reshape(2, 3), "link_": np.array(True), "empty_": np.zeros((0, 2))}


def test_arrays_are_read_back(tmp_path: Path) -> None:
    store = open_context(tmp_path).store
    kept = open_learned(store, {"words": 2})
    assert kept.read() is None
    kept.write(ARRAYS)
    found = open_learned(store, {"words": 2}).read()
    assert found is not None and found.keys() == ARRAYS.keys()
    assert all(
        np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in ARRAYS.items()
    )
    assert open_learned(store, {"words": 3}).read() is None


def test_a_damaged_file_and_one_of_another_key_are_not_read(tmp_path: Path) -> None:
    store = open_context(tmp_path).store
    kept, other = open_learned(store, 1), open_learned(store, 2)
    kept.write(ARRAYS)
    other.path.write_bytes(kept.path.read_bytes())
    assert other.read() is None
    data = bytearray(kept.path.read_bytes())
    data[-1] ^= 1
    kept.path.write_bytes(data)
    assert kept.read() is None
    kept.path.write_bytes(b"")
    assert kept.read() is None


def test_a_store_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "learned").write_text("")
    kept = open_learned(open_context(tmp_path).store, 1)
    kept.write(ARRAYS)
    assert kept.read() is None
