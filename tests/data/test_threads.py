"""Work done by threads keeps its order and its bounds, ends in time, and names the image that fails."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from imclass.core.errors import BadImage
from imclass.data.images.decode import decode
from imclass.data.sets.folder import open_folder
from imclass.data.source import DataLocation
from imclass.data.threads import decode_in_order, map_in_order
from imclass.store.store import Store
from tests.support.corpus import picture, write_corpus


def live_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("imclass")]


def test_work_ahead_is_bounded() -> None:
    started: list[int] = []
    stream = map_in_order(lambda i: started.append(i) or i, range(1000), workers=2, ahead=10)  # type: ignore[func-returns-value]
    assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
    time.sleep(0.05)
    assert len(started) <= 5 + 10 + 1
    stream.close()
    time.sleep(0.05)
    assert len(started) <= 5 + 10 + 1


def test_results_keep_their_order_if_some_items_take_longer() -> None:
    def slow(i: int) -> int:
        time.sleep(0.002 * (i % 3 == 0))
        return i

    assert list(map_in_order(slow, range(60), workers=3, ahead=7)) == list(range(60))


class Broken:
    """Images of which one raises an unforeseen error."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> np.ndarray:
        if i == 4:
            raise ZeroDivisionError("no such luck")
        return picture()

    def name(self, i: int) -> str:
        return f"cat/{i}.png"


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unforeseen_error_is_raised_at_its_turn_with_the_files_name(workers: int) -> None:
    stream = decode_in_order(Broken(), np.arange(6), workers)
    assert [np.array_equal(np.asarray(next(stream)), picture()) for _ in range(4)] == [True] * 4
    with pytest.raises(RuntimeError, match=r"cat/4\.png: ZeroDivisionError: no such luck"):
        next(stream)
    assert live_threads() == []


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_images_and_refusals_are_yielded_in_the_order_of_the_indices(tmp_path: Path, workers: int) -> None:
    expected = write_corpus(tmp_path / "train" / "a")
    write_corpus(tmp_path / "train" / "b")
    dataset = open_folder(DataLocation(Store(tmp_path), tmp_path))["train"]
    indices = np.random.default_rng(0).permutation(len(dataset))[:90]
    found = list(decode_in_order(dataset, indices, workers))
    assert len(found) == 90
    for i, item in zip(indices.tolist(), found, strict=True):
        outcome = expected[Path(dataset.name(i)).name]
        if isinstance(item, BadImage):
            assert item.code in outcome.codes and dataset.name(i) in item.path and item.__traceback__ is None
        else:
            assert np.array_equal(item, decode(tmp_path / dataset.name(i)))
