"""Mixing inside parts: compared with plain loops, and the same bits however the images are loaded."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from scipy import stats

from imclass.core.config import Augment
from imclass.core.contracts import Dataset, Origin
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.core.targets import AnyOf, OneOf, Soft
from imclass.data.arrays import ArrayDataset
from imclass.data.augment.area import Area
from imclass.data.augment.cutmix import CutMix
from imclass.data.augment.flip import Flip
from imclass.data.augment.mixing import Fractions, MixedPart, PartImages, mix_part, partners, symmetric_beta
from imclass.data.augment.mixup import Mixup
from imclass.data.augment.pad import Pad
from imclass.data.loader import Batch, Loader
from imclass.data.sets.folder import open_folder
from imclass.data.source import DataLocation
from imclass.store.store import Store

SIDE, CLASSES = 12, 3
IDS = np.arange(100, 109)
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 3, SIDE, 14), dtype=np.uint8)
ROWS = np.eye(CLASSES, dtype=np.float32)[np.arange(9) % CLASSES]


@dataclass(frozen=True)
class Swap(Augment):
    """Every image replaced by its neighbour."""

    kind: ClassVar[str] = "swap"

    def mix(self, images: PartImages, targets: Fractions, draws: Draws, ids: np.ndarray) -> MixedPart:
        return np.roll(images, 1, axis=0), np.roll(targets, 1, axis=0)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 4.0, 100.0])
def test_the_numbers_have_the_beta_distribution(alpha: float) -> None:
    """Compare with SciPy's distribution by the Kolmogorov-Smirnov test, which finds another alpha."""
    pairs = np.random.default_rng(1).random((4000, 2)).tolist()
    found = [symmetric_beta(alpha, u, v) for u, v in pairs]
    assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert stats.kstest(found, stats.beta(1.3 * alpha, 1.3 * alpha).cdf).pvalue < 1e-4


def test_the_numbers_stay_within_bounds_at_the_ends() -> None:
    ends = (0.0, 2.0**-53, 0.25, 0.5, 0.75, 1 - 2.0**-53)
    for alpha, u, v in itertools.product((1e-6, 0.2, 1.0, 1e6), ends, ends):
        assert 0 <= symmetric_beta(alpha, u, v) <= 1


def test_each_image_has_another_partner() -> None:
    draws = Draws(3, 1, "mixup.")
    found = partners(draws, IDS)
    assert sorted(found) == list(range(9)) and all(found[i] != i for i in range(9))
    seen = {i := 0}
    while (i := int(found[i])) not in seen:
        seen.add(i)
    assert len(seen) == 9  # one cycle through all images
    order = np.random.default_rng(2).permutation(9)
    assert np.array_equal(IDS[order][partners(draws, IDS[order])], IDS[found][order])
    assert not np.array_equal(found, partners(draws.at_epoch(2), IDS))
    assert partners(draws, IDS[:1]).tolist() == [0]


def drawn_shares(draws: Draws, alpha: float, probability: float) -> list[float]:
    """Return the share that each image keeps, drawn one at a time."""
    shares = []
    for id in IDS:
        u, v, chance = (float(draws.uniform(np.array([id]), name)[0]) for name in ("first", "second", "chance"))
        shares.append(symmetric_beta(alpha, u, v) if chance < probability else 1.0)
    return shares


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("floats", [False, True])
def test_mixup_equals_a_plain_loop(probability: float, floats: bool) -> None:
    """Compare all pixels and targets. Images that are not mixed keep their bits."""
    draws = Draws(7, 2, "mixup.")
    images = IMAGES / np.float32(255) if floats else IMAGES
    found, targets = Mixup(0.7, probability).mix(images, ROWS, draws, IDS)
    shares, partner = drawn_shares(draws, 0.7, probability), partners(draws, IDS)
    assert found.dtype == targets.dtype == np.float32
    for i, share in enumerate(shares):
        for channel, y, x in itertools.product(range(3), range(SIDE), range(14)):
            first, second = (IMAGES[k, channel, y, x] / 255 for k in (i, partner[i]))
            assert found[i, channel, y, x] == pytest.approx(share * first + (1 - share) * second, abs=2e-7)
        assert targets[i].tolist() == pytest.approx((share * ROWS[i] + (1 - share) * ROWS[partner[i]]).tolist())
        assert share < 1 or np.array_equal(found[i], IMAGES[i] / np.float32(255))
    mixed = sum(share < 1 for share in shares)
    assert mixed == {0.0: 0, 1.0: 9}.get(probability, mixed) and (probability != 0.5 or 0 < mixed < 9)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_cutmix_equals_a_plain_loop_with_the_exact_share_of_the_area(alpha: float) -> None:
    draws = Draws(5, 1, "cutmix.")
    found, targets = CutMix(alpha, 0.8).mix(IMAGES, ROWS, draws, IDS)
    shares, partner = drawn_shares(draws, alpha, 0.8), partners(draws, IDS)
    assert found.dtype == np.uint8
    areas = []
    for i, share in enumerate(shares):
        cx = float(draws.uniform(IDS[i : i + 1], "x")[0]) * 14
        cy = float(draws.uniform(IDS[i : i + 1], "y")[0]) * SIDE
        width, height = 14 * math.sqrt(1 - share), SIDE * math.sqrt(1 - share)
        cut = 0
        for y, x in itertools.product(range(SIDE), range(14)):
            # A pixel is cut if the border of the rectangle, rounded to whole pixels, encloses it.
            inside_x = round(max(0, cx - width / 2)) <= x < round(min(14, cx + width / 2))
            inside_y = round(max(0, cy - height / 2)) <= y < round(min(SIDE, cy + height / 2))
            source = IMAGES[partner[i]] if inside_x and inside_y else IMAGES[i]
            assert (found[i, :, y, x] == source[:, y, x]).all()
            cut += inside_x and inside_y
        areas.append(cut / (SIDE * 14))
        wanted = (1 - areas[-1]) * ROWS[i] + areas[-1] * ROWS[partner[i]]
        assert targets[i].tolist() == pytest.approx(wanted.tolist(), abs=1e-7)
    assert any(abs(1 - share - area) > 0.02 for share, area in zip(shares, areas, strict=True))  # some are clipped


def test_cutmix_replaces_the_drawn_area_unless_it_is_clipped() -> None:
    """Average over 2,000 small images, with rectangles of all sizes: the drawn share is a bound."""
    ids, images = np.arange(2000), np.zeros((2000, 1, 32, 32), np.uint8)
    rows = np.tile(np.array([[1, 0]], np.float32), (2000, 1))
    rows[ids % 2 == 1] = [0, 1]
    draws = Draws(1, 0, "cutmix.")
    _, targets = CutMix().mix(images, rows, draws, ids)
    differ = rows.argmax(1) != rows[partners(draws, ids)].argmax(1)
    cut = 1 - targets[np.arange(2000), rows.argmax(1)][differ]
    assert 0.25 < cut.mean() < 0.45  # 0.5 without clipping
    assert np.allclose(targets.sum(1), 1)


def test_nothing_that_is_passed_in_is_modified() -> None:
    images, rows = IMAGES.copy(), ROWS.copy()
    floats = IMAGES / np.float32(255)
    before = floats.copy()
    for rule in (Mixup(), CutMix()):
        for each in (images, floats):
            mix_part(each, rows, (rule,), Draws(1), IDS)
    assert np.array_equal(images, IMAGES) and np.array_equal(rows, ROWS) and np.array_equal(floats, before)


def test_one_of_several_kinds_mixes_a_part() -> None:
    rules, found = (Flip(), Mixup(), Swap(), CutMix()), set()
    for epoch in range(30):
        draws = Draws(2, epoch)
        images, rows = mix_part(IMAGES, ROWS, rules, draws, IDS)
        matches = []
        for rule in (Mixup(), Swap(), CutMix()):
            alone, targets = rule.mix(IMAGES, ROWS, draws.in_scope(rule.kind), IDS)
            if np.array_equal(alone, images) and np.array_equal(targets, rows):
                matches.append(rule.kind)
        assert len(matches) == 1
        found.update(matches)
    assert found == {"mixup", "swap", "cutmix"}


def test_without_a_kind_that_mixes_the_same_arrays_are_returned() -> None:
    images, rows = mix_part(IMAGES, ROWS, (Flip(),), Draws(1), IDS)
    assert images is IMAGES and rows is ROWS
    none, _ = mix_part(IMAGES[:0], ROWS[:0], (Mixup(),), Draws(1), IDS[:0])
    assert len(none) == 0


@pytest.mark.parametrize("rule", [Mixup(), CutMix()])
def test_an_image_alone_in_its_part_is_not_changed(rule: Any) -> None:
    images, rows = mix_part(IMAGES[:1], ROWS[:1], (rule,), Draws(1), IDS[:1])
    scale = 1 if images.dtype == np.uint8 else 255
    assert np.allclose(images * scale, IMAGES[:1], atol=1e-4) and np.allclose(rows, ROWS[:1])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Make twenty images of different sizes in three classes, two of them bad."""
    root, rng = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for i in range(20):
        path = root / "train" / "abc"[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(rng.integers(0, 256, (*rng.integers(14, 40, 2), 3), dtype=np.uint8)).save(path)
        if i % 9 == 4:
            path.write_bytes(path.read_bytes()[:60])
    return open_folder(DataLocation(Store(root), root))["train"]


def loader(dataset: Dataset, *rules: Augment, **more: Any) -> Loader:
    settings: dict[str, Any] = {
        "dataset": dataset,
        "preprocess": Preprocess(size=SIDE, resize="squash"),
        "augment": rules,
        "fill": torch.zeros(3, dtype=torch.uint8),
        "batch": 8,
        "seed": 7,
        "parts": 3,
        **more,
    }
    return Loader(**settings)


def bits(batches: list[Batch]) -> list[tuple[Any, ...]]:
    """Return the bytes of all images and targets, with the number of each part."""
    parts = [(number, part) for batch in batches for number, part in batch.parts.items()]
    return [
        (number, part.images.dtype, part.images.numpy().tobytes(), part.targets.numpy().tobytes())
        for number, part in parts
    ]


MIXES = [(Flip(), Pad(pixels=2), Mixup(probability=0.7), CutMix()), (Area(), Mixup())]


@pytest.mark.parametrize("rules", MIXES, ids=lambda rules: "-".join(rule.kind for rule in rules))
def test_mixed_batches_have_the_same_bits_however_they_are_loaded(tree: Dataset, rules: tuple[Augment, ...]) -> None:
    """Compare threads, memory, resumption, and processes that compute some of the parts."""
    whole = list(loader(tree, *rules).batches(2))
    assert len({number for number, *_ in bits(whole)}) == 3
    for workers, memory in ((0, 0), (1, 0), (2, 0)):
        found = list(loader(tree, *rules, workers=workers, memory_mib=memory).batches(2))
        assert bits(found) == bits(whole)
    assert bits(list(loader(tree, *rules).batches(2, skip=2))) == bits(whole[2:])
    halves = (lambda n: range(1), lambda n: range(1, n))
    shares = [list(loader(tree, *rules).batches(2, mine=mine)) for mine in halves]
    together = [bits([a]) + bits([b]) for a, b in zip(*shares, strict=True)]
    assert together == [bits([batch]) for batch in whole]
    assert bits(list(loader(tree, *rules).batches(3))) != bits(whole)


def test_a_part_equals_the_mix_of_its_plain_images(tree: Dataset) -> None:
    plain, mixed = (next(loader(tree, Flip(), *rules).batches(1)) for rules in ((), (Mixup(),)))
    for number, part in plain.parts.items():
        images, rows = Mixup().mix(
            part.images.numpy(),
            np.eye(3, dtype=np.float32)[part.targets.numpy()],
            Draws(7, 1, "mixup."),
            part.ids,
        )
        found = mixed.parts[number]
        assert isinstance(found.targets, Soft) and np.array_equal(found.targets.numpy(), rows)
        assert np.array_equal(found.images.numpy(), images) and np.array_equal(found.ids, part.ids)
        assert found.refused == part.refused


def test_images_of_several_labels_are_refused() -> None:
    """Check the last guard: a run refuses them before work starts."""
    images = np.zeros((8, SIDE, SIDE, 3), np.uint8)
    marks = AnyOf(np.ones((8, 2), np.int8))
    data = ArrayDataset(images, marks, ("a", "b"), ("train",), "train", Origin("a", "a", "published"))
    with pytest.raises(UserError, match="mixing images needs images with one label each"):
        next(loader(data, Mixup()).batches(0))


def test_repeats_of_an_image_in_a_balanced_epoch_are_mixed_differently(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
    labels = OneOf(np.array([0, 0, 0, 0, 0, 1]))
    data = ArrayDataset(images, labels, ("a", "b"), ("train",), "train", Origin("a", "a", "published"))
    batch = next(loader(data, Mixup(1.0), balanced=True, parts=1, batch=6).batches(0))
    repeated = batch.parts[0].positions == 5
    shares = batch.parts[0].targets.numpy()[repeated]
    assert repeated.sum() == 3 and len(np.unique(shares, axis=0)) == 3
