"""Batches do not depend on threads, on where an epoch is taken up, or on images that are refused."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from imclass.core.config import Augment
from imclass.core.contracts import Dataset, Origin
from imclass.core.errors import BadImage, UserError
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.augment.window import augment, view
from imclass.data.loader import Batch, Loader, untouched
from imclass.data.sets.folder import open_folder
from imclass.data.source import Place
from imclass.store.store import Store
from tests.support.corpus import picture, rgb_png

FILL = torch.tensor([1, 2, 3], dtype=torch.uint8)
SMALL = Preprocess(size=12, resize="squash")
SHIFTS = Augment(flip=True, pad=2)
PARTS = Augment(flip=True, pad=1, area=(0.3, 1.0), aspect=(0.75, 4 / 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty images of different sizes in three classes, seven of them bad."""
    root = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(0)
    for i in range(60):
        path = root / "train" / "abc"[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(14, 40, 2)
        Pillow.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        if i % 9 == 4:
            path.write_bytes(path.read_bytes()[:60])
    return open_folder(Place(Store(root), root), "train")


def array(n: int = 50, size: int = 12, channels: int = 3) -> ArrayDataset:
    """An in-memory set."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (n, size, size, channels), dtype=np.uint8)
    return ArrayDataset(
        images,
        OneOf(np.arange(n) % 4),
        ("a", "b", "c", "d"),
        ("train",),
        "train",
        Origin("a", "a", "published"),
    )


def loader(dataset: Dataset, rules: Augment = SHIFTS, workers: int = 0, memory: int = 2048, batch: int = 8) -> Loader:
    return Loader(dataset, SMALL, rules, FILL, batch, 7, workers, memory)


def same(a: Batch, b: Batch) -> bool:
    """Equal in everything but time."""
    return (
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        and np.array_equal(a.ids, b.ids) and np.array_equal(a.positions, b.positions) and a.refused == b.refused
    )  # fmt: skip


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected) > 0
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def by_loop(
    dataset: Dataset, rules: Augment, epoch: int, batch: int = 8
) -> Iterator[tuple[list[int], list[torch.Tensor]]]:
    """Positions and views of each batch, one image at a time."""
    everything = Draws(7, epoch).order(dataset.ids).tolist()
    for at in range(0, len(everything), batch):
        kept, seen = [], []
        for i in everything[at : at + batch]:
            try:
                image = dataset[i]
            except BadImage:
                continue
            id = dataset.ids[i : i + 1]
            one = view(image, SMALL, rules, Draws(7, epoch), int(id[0])).transpose(2, 0, 1)[None]
            seen.append(augment(torch.from_numpy(one.copy()), rules, FILL, Draws(7, epoch), id))
            kept.append(i)
        yield kept, seen


@pytest.mark.parametrize("rules", [Augment(), SHIFTS, PARTS])
@pytest.mark.parametrize("kind", ["folder", "array"])
def test_batches_are_what_a_plain_loop_gives(folder: Dataset, kind: str, rules: Augment) -> None:
    dataset = folder if kind == "folder" else array()
    assert isinstance(dataset, Dataset)
    loaded = loader(dataset, rules)
    found = list(loaded.batches(3))
    expected = list(by_loop(dataset, rules, 3))
    assert len(found) == len(expected) == len(loaded)
    for batch, (positions, views) in zip(found, expected, strict=True):
        assert batch.positions.tolist() == positions
        assert torch.equal(batch.images, torch.cat(views))
        assert batch.labels.tolist() == dataset.targets[positions].labels.tolist()
        assert batch.ids.tolist() == dataset.ids[positions].tolist()
        assert batch.waited >= 0


@pytest.mark.parametrize("memory", [0, 2048])
@pytest.mark.parametrize("rules", [SHIFTS, PARTS])
def test_threads_do_not_change_a_bit(folder: Dataset, rules: Augment, memory: int) -> None:
    alone = list(loader(folder, rules, 0, memory).batches(1))
    for workers in (1, 2, 3):
        assert_same(list(loader(folder, rules, workers, memory).batches(1)), alone)
    assert not torch.equal(alone[0].images, next(loader(folder, rules, 0, memory).batches(2)).images)


def test_memory_and_decoding_anew_give_the_same_bits(folder: Dataset) -> None:
    kept, anew = loader(folder, memory=1), loader(folder, memory=0, workers=2)
    assert kept.in_memory
    assert not anew.in_memory
    for epoch in (0, 1):
        assert_same(list(kept.batches(epoch)), list(anew.batches(epoch)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("rules", [SHIFTS, PARTS])
def test_an_epoch_taken_up_anywhere_goes_on_as_if_never_left(folder: Dataset, rules: Augment, workers: int) -> None:
    whole = list(loader(folder, rules).batches(2))
    for skip in range(len(whole)):
        assert_same(list(loader(folder, rules, workers).batches(2, skip)), whole[skip:])
    assert list(loader(folder, rules, workers).batches(2, len(whole))) == []


def test_every_image_is_used_or_refused_once_an_epoch(folder: Dataset) -> None:
    for memory in (0, 2048):
        for epoch in (0, 1):
            batches = list(loader(folder, memory=memory).batches(epoch))
            used = [i for batch in batches for i in batch.positions.tolist()]
            names = [r.path for batch in batches for r in batch.refused]
            assert len(used) == len(set(used)) == 53
            assert len(names) == len(set(names)) == 7
            assert len(used) + len(names) == len(folder)
            assert {r.code for batch in batches for r in batch.refused} <= {"truncated", "damaged"}


def test_a_bad_image_shrinks_its_batch_and_moves_nothing(tmp_path: Path, folder: Dataset) -> None:
    root = Path(folder.origin.path)
    shutil.copytree(root, tmp_path / "t")
    for path in (tmp_path / "t").rglob("*.png"):
        if path.stat().st_size == 60:
            path.write_bytes(rgb_png(picture()))
    mended = open_folder(Place(Store(tmp_path), tmp_path / "t"), "train")
    full, shrunk = list(loader(mended).batches(0)), list(loader(folder).batches(0))
    assert all(len(batch.labels) == 8 for batch in full[:-1])
    assert any(len(batch.labels) < 8 for batch in shrunk[:-1])
    for a, b in zip(full, shrunk, strict=True):
        stays = np.isin(a.positions, b.positions)
        assert torch.equal(a.images[stays], b.images)
        assert len(b.refused) == (~stays).sum()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("memory", [0, 100])
def test_a_batch_of_bad_images_is_empty_and_still_a_batch(tmp_path: Path, memory: int, workers: int) -> None:
    for i in range(4):
        for name in "ab":
            (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "train" / name / f"{i}.png").write_bytes(b"")
    dataset = open_folder(Place(Store(tmp_path), tmp_path), "train")
    batches = list(loader(dataset, SHIFTS, workers, memory, batch=3).batches(0))
    assert [batch.images.shape for batch in batches] == [(0, 3, 12, 12)] * 3
    assert [len(batch.refused) for batch in batches] == [3, 3, 2]


def test_the_last_batch_is_kept() -> None:
    loaded = loader(array(50))
    assert len(loaded) == 7
    assert [len(b.labels) for b in loaded.batches(0)] == [8] * 6 + [2]
    assert len(loader(array(48))) == len(list(loader(array(48)).batches(0))) == 6


def test_epochs_differ_in_order_and_hold_the_same_images() -> None:
    first, second = ([i for b in loader(array()).batches(e) for i in b.positions.tolist()] for e in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(50))


def test_an_array_of_the_right_size_is_not_copied_and_not_changed() -> None:
    dataset = array()
    before = dataset.array.copy()
    loaded = loader(dataset, memory=0)
    assert loaded.in_memory
    assert np.shares_memory(loaded.kept.images, dataset.array)
    for batch in loaded.batches(0):
        batch.images.zero_()
    assert np.array_equal(dataset.array, before)


@pytest.mark.parametrize(
    "preprocess", [Preprocess(size=8, resize="squash"), Preprocess(size=12, resize="squash", colour="grey"),
                   Preprocess(size=12, resize="none", channels="bgr"), Preprocess(size=12, scale=14)]
)  # fmt: skip
def test_an_array_of_another_kind_is_prepared_once(preprocess: Preprocess) -> None:
    dataset = array()
    fill = FILL[: preprocess.w_in]
    loaded = Loader(dataset, preprocess, Augment(), fill, 8, 7, memory_mib=1)
    assert loaded.in_memory
    assert not np.shares_memory(loaded.kept.images, dataset.array)
    assert_same(list(loaded.batches(0)), list(replace(loaded, memory_mib=0, workers=2).batches(0)))
    i = int(next(loaded.batches(0)).positions[0])
    assert np.array_equal(next(loaded.batches(0)).images[0].numpy(), preprocess(dataset.array[i]).transpose(2, 0, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_untouched_is_said_only_of_what_preprocess_gives_back(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 12, channels), dtype=np.uint8)
    for resize in ("shorter", "squash", "none"):
        for colour in ("rgb", "grey"):
            for order_ in ("rgb", "bgr"):
                for scale in (12, 15):
                    preprocess = Preprocess(12, colour, resize, scale, channels=order_)  # type: ignore[arg-type]
                    found = preprocess(image)
                    given_back = found.shape == image.shape and np.array_equal(found, image)
                    assert untouched(preprocess, image.shape) == given_back
    assert not untouched(Preprocess(size=8, resize="none"), (12, 12, 3))


def test_outside_training_the_order_is_the_data_sets_and_nothing_is_augmented(folder: Dataset) -> None:
    loaded = Loader(folder, SMALL, PARTS, FILL, 8, 7, workers=2, training=False)
    batches = list(loaded.batches(4))
    positions = [i for b in batches for i in b.positions.tolist()]
    assert positions == sorted(positions) and len(positions) == 53
    first = SMALL(folder[positions[0]])
    assert np.array_equal(batches[0].images[0].numpy(), first.transpose(2, 0, 1))


def live_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("imclass")]


def test_threads_end_when_the_consumer_stops(folder: Dataset) -> None:
    batches = loader(folder, PARTS, workers=2).batches(0)
    next(batches)
    assert len(live_threads()) == 2
    batches.close()  # type: ignore[attr-defined]
    assert live_threads() == []
    assert len(list(loader(folder, PARTS, workers=2).batches(0))) == 8
    assert live_threads() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_too_small_for_the_network_is_named(folder: Dataset, workers: int) -> None:
    loaded = Loader(folder, Preprocess(size=30, resize="none"), Augment(), FILL, 8, 7, workers)
    with pytest.raises(UserError, match=r"train/[abc]/\d\d\.png: an image of"):
        list(loaded.batches(0))
