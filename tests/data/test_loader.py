"""Batches do not depend on threads, on where an epoch is resumed, or on images that are refused."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from imclass.core.config import Augment
from imclass.core.contracts import Dataset, Image, Origin
from imclass.core.errors import BadImage, UserError
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.augment.area import Area
from imclass.data.augment.colour import paint
from imclass.data.augment.crop import Crop
from imclass.data.augment.flip import Flip
from imclass.data.augment.pad import Pad
from imclass.data.augment.window import apply_windows, choose, render_view
from imclass.data.loader import Batch, Loader, Part, is_identity
from imclass.data.order import cut_batches, divide_batch
from imclass.data.sets.folder import open_folder
from imclass.data.source import DataLocation
from imclass.data.subset import Subset
from imclass.store.store import Store
from tests.support.corpus import picture, rgb_png

FILL = torch.tensor([1, 2, 3], dtype=torch.uint8)
SMALL = Preprocess(size=12, resize="squash")
SHIFTS = (Flip(), Pad(pixels=2))
PARTS = (Area(area=(0.3, 1.0)), Flip(), Pad(pixels=1))
SCALES = (Crop(shorter=(12.0, 20.0)), Flip())
Rules = tuple[Augment, ...]


@dataclass(frozen=True)
class Tint(Augment):
    """A random level added to every pixel."""

    kind: ClassVar[str] = "tint"

    def colour(self, view: Image, draws: Draws, id: int) -> Image:
        view += np.uint8(100 * draws.uniform(np.array([id]), "level")[0])
        return view


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Make sixty images of different sizes in three classes, seven of them bad."""
    root = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(0)
    for i in range(60):
        path = root / "train" / "abc"[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(14, 40, 2)
        Pillow.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        if i % 9 == 4:
            path.write_bytes(path.read_bytes()[:60])
    return open_folder(DataLocation(Store(root), root))["train"]


def array(n: int = 50, size: int = 12, channels: int = 3) -> ArrayDataset:
    """Return a data set in memory."""
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


def loader(
    dataset: Dataset, rules: Rules = SHIFTS, workers: int = 0, memory: int = 2048, batch: int = 8, **more: Any
) -> Loader:
    made = {"dataset": dataset, "preprocess": SMALL, "augment": rules, "fill": FILL, "batch": batch, "seed": 7}
    return Loader(**{**made, "workers": workers, "memory_mib": memory, **more})


def same_part(a: Part, b: Part) -> bool:
    return (
        torch.equal(a.images, b.images) and np.array_equal(a.targets.numpy(), b.targets.numpy())
        and np.array_equal(a.ids, b.ids) and np.array_equal(a.positions, b.positions) and a.refused == b.refused
    )  # fmt: skip


def same(a: Batch, b: Batch) -> bool:
    """Return whether two batches are equal in everything but time."""
    return list(a.parts) == list(b.parts) and all(same_part(a.parts[k], b.parts[k]) for k in a.parts)


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected) > 0
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def positions(batch: Batch) -> list[int]:
    return [i for part in batch.parts.values() for i in part.positions.tolist()]


def by_loop(
    dataset: Dataset, rules: Rules, epoch: int, batch: int = 8, parts: int = 1, pairs: bool = False
) -> Iterator[list[tuple[list[int], np.ndarray]]]:
    """Yield the positions and views of each part of each batch, one image at a time."""
    draws = Draws(7, epoch)
    for whole in cut_batches(draws.order(dataset.ids), batch, pairs):
        made = []
        for part in divide_batch(whole, parts, pairs):
            kept, seen = [], [np.zeros((0, 3, 12, 12), np.uint8)]
            for i in part.tolist():
                try:
                    image = dataset[i]
                except BadImage:
                    continue
                id = dataset.ids[i : i + 1]
                windows = choose(np.array([image.shape[:2]]), 12, rules, draws, id)
                one = render_view(image, windows, SMALL).transpose(2, 0, 1)[None]
                seen.append(paint(apply_windows(one, windows, FILL.numpy()), rules, draws, id))
                kept.append(i)
            made.append((kept, np.concatenate(seen)))
        yield made


@pytest.mark.parametrize(("parts", "pairs"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("rules", [(), SHIFTS, PARTS, SCALES, (*SHIFTS, Tint())])
@pytest.mark.parametrize("kind", ["folder", "array"])
def test_batches_equal_those_of_a_plain_loop(folder: Dataset, kind: str, rules: Rules, parts: int, pairs: bool) -> None:
    dataset = folder if kind == "folder" else array(49)
    assert isinstance(dataset, Dataset)
    loaded = loader(dataset, rules, parts=parts, pairs=pairs)
    found = list(loaded.batches(3))
    expected = list(by_loop(dataset, rules, 3, parts=parts, pairs=pairs))
    assert len(found) == len(expected) == len(loaded) == (6 if kind == "array" and pairs else -(-len(dataset) // 8))
    for batch, plain in zip(found, expected, strict=True):
        assert list(batch.parts) == list(range(len(plain))) and len(batch) == sum(len(kept) for kept, _ in plain)
        for part, (kept, views) in zip(batch.parts.values(), plain, strict=True):
            assert part.positions.tolist() == kept
            assert np.array_equal(part.images.numpy(), views)
            assert part.targets.numpy().tolist() == dataset.targets[kept].numpy().tolist()
            assert part.ids.tolist() == dataset.ids[kept].tolist()
        assert batch.waited >= 0


@pytest.mark.parametrize("rules", [(), SHIFTS, PARTS])
@pytest.mark.parametrize("memory", [0, 2048])
def test_a_process_decodes_only_its_parts(
    folder: Dataset, rules: Rules, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(loader(folder, rules, parts=4).batches(1))
    take = type(folder).__getitem__
    decoded: list[int] = []

    def record(self: Any, i: int) -> Any:
        decoded.append(i)
        return take(self, i)

    monkeypatch.setattr(type(folder), "__getitem__", record)
    for mine in (lambda n: range(n // 2), lambda n: range(n // 2, n), lambda n: range(0)):
        decoded.clear()
        found = list(loader(folder, rules, 2, memory, parts=4).batches(1, mine=mine))
        assert len(found) == len(whole)
        wanted: set[int] = set()
        for batch, full in zip(found, whole, strict=True):
            assert list(batch.parts) == list(mine(len(full.parts)))
            assert all(same_part(part, full.parts[number]) for number, part in batch.parts.items())
            wanted |= set(positions(batch))
        assert memory or (wanted <= set(decoded) and len(decoded) <= len(wanted) + 7)


KINDS = (Area(area=(0.3, 1.0)), Flip(), Pad(), Tint())
COMBINATIONS = [*(c for n in range(5) for c in itertools.combinations(KINDS, n)), KINDS[::-1], (Pad(), Flip(), Pad())]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    """Return a folder of images of one size that is larger than the network's, and an array of the same pixels."""
    root, rng = tmp_path_factory.mktemp("twins"), np.random.default_rng(3)
    for i in range(14):
        path = root / "train" / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(rng.integers(0, 256, (17, 21, 3), dtype=np.uint8)).save(path)
    tree = open_folder(DataLocation(Store(root), root))["train"]
    return tree, twin_of(tree, np.stack([tree[i] for i in range(14)]))


def twin_of(tree: Dataset, pixels: np.ndarray) -> ArrayDataset:
    """Return the images of a folder, by the same names, as an array."""

    class Twin(ArrayDataset):
        def name(self, i: int) -> str:
            return tree.name(i)

    return Twin(pixels, tree.targets, tree.classes, ("train",), "train", tree.origin)


@pytest.mark.parametrize("rules", COMBINATIONS, ids=lambda rules: "-".join(rule.kind for rule in rules) or "none")
def test_files_and_arrays_give_the_same_bits_in_memory_or_not(twins: tuple[Dataset, Dataset], rules: Rules) -> None:
    tree, pixels = twins
    expected = list(loader(tree, rules, 0, 0, parts=2).batches(2))
    for dataset, (workers, memory) in itertools.product((tree, pixels), ((0, 2048), (2, 0))):
        assert_same(list(loader(dataset, rules, workers, memory, parts=2).batches(2)), expected)


@pytest.mark.parametrize("rules", [SHIFTS, (Flip(), Pad(), Tint())])
def test_an_array_of_the_networks_size_gives_the_same_bits_as_files(tmp_path: Path, rules: Rules) -> None:
    dataset = array(20)
    for i in range(20):
        path = tmp_path / "train" / "abcd"[i % 4] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(dataset.array[i]).save(path)
    tree = open_folder(DataLocation(Store(tmp_path), tmp_path))["train"]
    names = sorted(range(20), key=lambda i: (i % 4, i))
    twin = twin_of(tree, dataset.array[names])
    assert loader(twin, memory=0).in_memory and not loader(tree, memory=0).in_memory
    before = twin.array.copy()
    assert_same(list(loader(twin, rules).batches(2)), list(loader(tree, rules, 2, 0).batches(2)))
    assert np.array_equal(twin.array, before)


@pytest.mark.parametrize("memory", [0, 2048])
@pytest.mark.parametrize("rules", [SHIFTS, PARTS, SCALES])
def test_threads_do_not_change_a_bit(folder: Dataset, rules: Rules, memory: int) -> None:
    alone = list(loader(folder, rules, 0, memory).batches(1))
    for workers in (1, 2, 3):
        assert_same(list(loader(folder, rules, workers, memory).batches(1)), alone)
    assert not same(alone[0], next(loader(folder, rules, 0, memory).batches(2)))


def test_kept_images_and_decoding_again_give_the_same_bits(folder: Dataset) -> None:
    kept, anew = loader(folder, memory=1), loader(folder, memory=0, workers=2)
    assert kept.in_memory
    assert not anew.in_memory
    for epoch in (0, 1):
        assert_same(list(kept.batches(epoch)), list(anew.batches(epoch)))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rules", [SHIFTS, PARTS, SCALES])
def test_an_epoch_resumed_at_any_batch_continues_with_the_same_bits(
    folder: Dataset, rules: Rules, workers: int
) -> None:
    whole = list(loader(folder, rules).batches(2))
    for skip in range(len(whole)):
        assert_same(list(loader(folder, rules, workers).batches(2, skip)), whole[skip:])
    assert list(loader(folder, rules, workers).batches(2, len(whole))) == []


@pytest.fixture(scope="module")
def uneven(folder: Dataset) -> Dataset:
    """Keep 18 images of the first class and 3 of each other class, four of them bad."""
    kept = [i for k, group in enumerate(folder.targets.by_class(3)) for i in group[: 3 if k else 18]]
    return Subset(folder, np.array(kept), "train", ("train",))


@pytest.mark.parametrize("rules", [SHIFTS, (*PARTS, Tint())])
def test_a_balanced_epoch_has_the_same_bits_however_it_is_loaded(uneven: Dataset, rules: Rules) -> None:
    """Compare threads, memory and resumption. With one part, the views are those of three."""
    whole = list(loader(uneven, rules, parts=3, balanced=True).batches(2))
    for workers, memory, skip in ((2, 0, 0), (1, 2048, 1), (0, 0, 2)):
        found = list(loader(uneven, rules, workers, memory, parts=3, balanced=True).batches(2, skip))
        assert_same(found, whole[skip:])
    for one, several in zip(loader(uneven, rules, balanced=True).batches(2), whole, strict=True):
        assert torch.equal(one.parts[0].images, torch.cat([part.images for part in several.parts.values()]))
        assert positions(one) == positions(several)


@pytest.mark.parametrize("memory", [0, 2048])
def test_a_balanced_epoch_draws_rare_classes_more_often(uneven: Dataset, memory: int) -> None:
    batches = list(loader(uneven, (Tint(),), memory=memory, balanced=True).batches(0))
    parts = [batch.parts[0] for batch in batches]
    labels = uneven.targets.numpy()
    refused = [next(i for i in range(24) if r.path.endswith(uneven.name(i))) for b in batches for r in b.refused]
    drawn = np.bincount(labels[[*refused, *(i for batch in batches for i in positions(batch))]])
    assert drawn.tolist() == [8, 8, 8] and len(refused) > len(set(refused))
    views: dict[int, list[bytes]] = {}
    for part in parts:
        for i, image in zip(part.positions.tolist(), part.images.numpy(), strict=True):
            views.setdefault(i, []).append(image.tobytes())
    assert max(map(len, views.values())) > 2
    assert all(len(set(each)) == len(each) for each in views.values())  # each repeat has another tint


def test_every_image_is_used_or_refused_once_in_an_epoch(folder: Dataset) -> None:
    for memory in (0, 2048):
        for epoch in (0, 1):
            batches = list(loader(folder, memory=memory).batches(epoch))
            used = [i for batch in batches for i in positions(batch)]
            names = [r.path for batch in batches for r in batch.refused]
            assert len(used) == len(set(used)) == 53
            assert len(names) == len(set(names)) == 7
            assert len(used) + len(names) == len(folder)
            assert {r.code for batch in batches for r in batch.refused} <= {"truncated", "damaged"}


def test_a_bad_image_shrinks_its_part_and_moves_no_other_image(tmp_path: Path, folder: Dataset) -> None:
    root = Path(folder.origin.path)
    shutil.copytree(root, tmp_path / "t")
    for path in (tmp_path / "t").rglob("*.png"):
        if path.stat().st_size == 60:
            path.write_bytes(rgb_png(picture()))
    repaired = open_folder(DataLocation(Store(tmp_path), tmp_path / "t"))["train"]
    for memory in (0, 2048):
        full = list(loader(repaired, memory=memory, parts=3).batches(0))
        shrunk = list(loader(folder, memory=memory, parts=3).batches(0))
        assert all(len(batch) == 8 for batch in full[:-1]) and any(len(batch) < 8 for batch in shrunk[:-1])
        for batch, smaller in zip(full, shrunk, strict=True):
            assert list(batch.parts) == list(smaller.parts)
            for a, b in zip(batch.parts.values(), smaller.parts.values(), strict=True):
                stays = np.isin(a.positions, b.positions)
                assert torch.equal(a.images[stays], b.images) and len(b.refused) == (~stays).sum()
            assert smaller.refused == tuple(r for part in smaller.parts.values() for r in part.refused)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("memory", [0, 100])
def test_a_batch_of_bad_images_is_yielded_empty(tmp_path: Path, memory: int, workers: int) -> None:
    for i in range(4):
        for name in "ab":
            (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "train" / name / f"{i}.png").write_bytes(b"")
    dataset = open_folder(DataLocation(Store(tmp_path), tmp_path))["train"]
    batches = list(loader(dataset, SHIFTS, workers, memory, batch=3).batches(0))
    assert [batch.parts[0].images.shape for batch in batches] == [(0, 3, 12, 12)] * 3
    assert [len(batch.refused) for batch in batches] == [3, 3, 2]


def test_the_last_batch_is_kept() -> None:
    loaded = loader(array(50))
    assert len(loaded) == 7
    assert [len(b) for b in loaded.batches(0)] == [8] * 6 + [2]
    assert len(loader(array(48))) == len(list(loader(array(48)).batches(0))) == 6


def test_epochs_differ_in_order_and_hold_the_same_images() -> None:
    first, second = ([i for b in loader(array()).batches(e) for i in positions(b)] for e in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(50))


def test_an_array_of_the_right_size_is_not_copied_and_not_changed() -> None:
    dataset = array()
    before = dataset.array.copy()
    loaded = loader(dataset, memory=0)
    assert loaded.in_memory
    assert np.shares_memory(loaded.kept.views.images, dataset.array)
    for batch in loaded.batches(0):
        batch.parts[0].images.zero_()
    assert np.array_equal(dataset.array, before)


@pytest.mark.parametrize(
    "preprocess", [Preprocess(size=8, resize="squash"), Preprocess(size=12, resize="squash", colour="grey"),
                   Preprocess(size=12, resize="none", channels="bgr"), Preprocess(size=12, scale=14)]
)  # fmt: skip
def test_an_array_of_another_size_is_preprocessed_once(preprocess: Preprocess) -> None:
    dataset = array()
    fill = FILL[: preprocess.w_in]
    loaded = loader(dataset, (), memory=1, preprocess=preprocess, fill=fill)
    assert loaded.in_memory
    assert not np.shares_memory(loaded.kept.views.images, dataset.array)
    assert_same(list(loaded.batches(0)), list(replace(loaded, memory_mib=0, workers=2).batches(0)))
    first = next(loaded.batches(0)).parts[0]
    view = preprocess(dataset.array[int(first.positions[0])])
    assert np.array_equal(first.images[0].numpy(), view.transpose(2, 0, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_is_identity_is_true_only_if_preprocess_returns_the_image_unchanged(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 12, channels), dtype=np.uint8)
    for resize in ("shorter", "squash", "none"):
        for colour in ("rgb", "grey"):
            for order_ in ("rgb", "bgr"):
                for scale in (12, 15):
                    preprocess = Preprocess(12, colour, resize, scale, channels=order_)  # type: ignore[arg-type]
                    found = preprocess(image)
                    unchanged = found.shape == image.shape and np.array_equal(found, image)
                    assert is_identity(preprocess, image.shape) == unchanged
    assert not is_identity(Preprocess(size=8, resize="none"), (12, 12, 3))


@pytest.mark.parametrize(("rules", "workers", "memory"), [(SHIFTS, 0, 2048), (SHIFTS, 2, 0), (PARTS, 2, 2048)])
def test_views_yields_the_preprocessed_view_of_every_image(
    folder: Dataset, rules: Rules, workers: int, memory: int
) -> None:
    expected = [SMALL(folder[i]) for i in positions_that_decode(folder)]
    found = list(loader(folder, rules, workers, memory).views())
    assert np.array_equal(np.concatenate(found), np.stack(expected)) and len(expected) == 53
    assert max(map(len, found)) == 8
    whole = array(20)
    assert np.array_equal(np.concatenate(list(loader(whole, rules, workers, memory).views())), whole.array)


def positions_that_decode(folder: Dataset) -> Iterator[int]:
    for i in range(len(folder)):
        try:
            folder[i]
        except BadImage:
            continue
        yield i


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
    loaded = loader(folder, (), workers, preprocess=Preprocess(size=30, resize="none"))
    with pytest.raises(UserError, match=r"train/[abc]/\d\d\.png: an image of"):
        list(loaded.batches(0))
