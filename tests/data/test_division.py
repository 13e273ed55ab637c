"""Data is divided into folds, or by random draws of a number of images of each class."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from imclass.core.config import Count, Cut, Fold
from imclass.core.contracts import Dataset, Origin
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.catalog import open_split
from imclass.data.source import LazySplits
from imclass.data.subset import IN_NEITHER, IN_TEST, IN_TRAIN, count_places, fold_numbers, with_division
from imclass.store.context import Context, open_context
from tests.support.shapes import write_shapes
from tests.support.small import tree


@pytest.fixture
def context() -> Context:
    return open_context()


def names(data: str, split: str, context: Context, cut: Cut) -> set[str]:
    """Return the names of a split's images."""
    dataset = open_split(data, split, context, cut)
    return {dataset.name(i) for i in range(len(dataset))}


def pool_of(*counts: int) -> Dataset:
    """Return a data set with this number of images in each class, in the order of the classes."""
    labels = np.repeat(np.arange(len(counts)), counts)
    classes, splits = tuple(f"c{k}" for k in range(len(counts))), ("train", "test")
    pixels, origin = np.zeros((len(labels), 2, 2, 1), np.uint8), Origin("pool", "/pool", "published")
    return ArrayDataset(pixels, OneOf(labels), classes, splits, "train", origin)


@pytest.mark.parametrize("counts", [(10, 10), (6, 6, 6, 6, 6), (7, 11, 5), (9, 5, 23, 6)])
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_have_the_sizes_of_scikit_learns(counts: tuple[int, ...], folds: int) -> None:
    pool = pool_of(*counts)
    numbers, labels = fold_numbers(pool, folds, seed=0), pool.targets.numpy()
    ours = [np.bincount(labels[numbers == fold], minlength=len(counts)).tolist() for fold in range(1, folds + 1)]
    theirs = StratifiedKFold(folds).split(labels, labels)
    assert ours == [np.bincount(labels[test], minlength=len(counts)).tolist() for _, test in theirs]
    sizes = [sum(one) for one in ours]
    assert max(sizes) - min(sizes) <= 1


def test_every_image_is_in_the_test_split_of_one_fold(tmp_path: Path, context: Context) -> None:
    data = str(tree(tmp_path / "pets", per_class=7))
    whole = names(data, "all", context, Cut())
    cuts = [Cut(Fold(3, number), seed=2) for number in (1, 2, 3)]
    tests = [names(data, "test", context, cut) for cut in cuts]
    assert set.union(*tests) == whole and sum(map(len, tests)) == len(whole)
    for cut, test in zip(cuts, tests, strict=True):
        assert names(data, "train", context, cut) == whole - test
        assert names(data, "all", context, cut) == whole
        origin = open_split(data, "test", context, cut).origin
        assert origin.rule == cut.rule.text(2) and not origin.has_splits
    assert names(data, "test", context, Cut(Fold(3, 1), seed=3)) != tests[0]
    within = Cut(Fold(3, 1), seed=2, validation=0.25)
    validation = names(data, "validation", context, within)
    assert len(validation) == 2 and validation < whole - tests[0]
    assert names(data, "train", context, within) == whole - tests[0] - validation


def test_few_images_move_to_another_fold_when_one_is_added(tmp_path: Path, context: Context) -> None:
    data = str(tree(tmp_path / "pets", per_class=50))

    def folds() -> dict[str, int]:
        return {n: k for k in range(1, 6) for n in names(data, "test", context, Cut(Fold(5, k)))}

    before = folds()
    (tmp_path / "pets" / "cat" / "new.png").write_bytes((tmp_path / "pets" / "cat" / "000.png").read_bytes())
    after = folds()
    assert sum(after[name] != fold for name, fold in before.items()) <= 2 * 5


def test_folds_divide_only_the_training_images_of_data_with_splits(context: Context) -> None:
    cut = Cut(Fold(4, 2))
    train, test = (open_split("mnist-sample", split, context, cut) for split in ("train", "test"))
    whole = open_split("mnist-sample", "train", context)
    assert sorted([*train.ids, *test.ids]) == sorted(whole.ids) and len(test) == 2500
    assert train.splits == test.splits == ("train", "test")
    assert train.origin.has_splits and train.origin.rule == "fold 2/4, seed 0"


def test_images_with_several_labels_are_one_group() -> None:
    pool = pool_of(4, 7)
    marks = AnyOf(np.eye(2, dtype=np.int8)[pool.targets.numpy()])
    several = replace(pool, targets=marks)  # type: ignore[type-var]
    assert np.bincount(fold_numbers(several, 5, 0)).tolist() == [0, 3, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((9, 3, 4), "5 folds cannot be made from the 3 images in class 'c1' of /pool; use at most 3 folds"),
        ((9, 1), "from the 1 image in class 'c1' of /pool; add images, or remove the class"),
    ],
)
def test_too_few_images_for_the_folds_are_named(counts: tuple[int, ...], message: str) -> None:
    splits = LazySplits(("train",), lambda _: pool_of(*counts))
    with pytest.raises(UserError, match=message):
        len(with_division(splits, Fold(5, 1), 0)["test"])


@dataclass(frozen=True, eq=False)
class Names(ArrayDataset):
    """A data set whose images have the given names, in any order."""

    names: tuple[str, ...] = ()

    def name(self, i: int) -> str:
        return self.names[i]


def named_pool(counts: tuple[int, ...], shuffled: int | None = None) -> Names:
    """Return a pool whose images are named "class/number". Their order depends on `shuffled`."""
    pairs = [(f"c{k:03d}/{i:04d}.jpg", k) for k, n in enumerate(counts) for i in range(n)]
    if shuffled is not None:
        pairs = [pairs[i] for i in np.random.default_rng(shuffled).permutation(len(pairs))]
    found, labels = zip(*pairs, strict=True)
    classes, origin = tuple(f"c{k:03d}" for k in range(len(counts))), Origin("pool", "/pool", "hash")
    pixels = np.zeros((len(pairs), 1, 1, 1), np.uint8)
    return Names(pixels, OneOf(np.array(labels, np.int64)), classes, ("train", "test"), "all", origin, names=found)


def draw_of(pool: Names, rule: Count, seed: int = 0) -> tuple[set[str], set[str]]:
    """Return the names of the images in train and those in test."""
    places = count_places(pool, rule, seed)
    return tuple({pool.name(int(i)) for i in np.flatnonzero(places == place)} for place in (IN_TRAIN, IN_TEST))  # type: ignore[return-value]


@pytest.mark.parametrize(("classes", "train", "images"), [(102, 30, 3_060), (257, 60, 15_420)])
def test_the_splits_of_caltech_have_their_published_sizes(classes: int, train: int, images: int) -> None:
    """Use class sizes like those of Caltech-101 (from 31 images) and Caltech-256 (from 80 images)."""
    least = {30: 31, 60: 80}[train]
    sizes = tuple(least + 7 * k % 90 for k in range(classes))
    pool = named_pool(sizes)
    places, labels = count_places(pool, Count(train, 50), 0), pool.targets.numpy()
    assert np.count_nonzero(places == IN_TRAIN) == images
    assert (np.bincount(labels[places == IN_TRAIN]) == train).all()
    assert np.bincount(labels[places == IN_TEST]).tolist() == [min(50, n - train) for n in sizes]
    every = count_places(pool, Count(train, 0), 0)
    assert np.count_nonzero(every == IN_NEITHER) == 0 and ((every == IN_TRAIN) == (places == IN_TRAIN)).all()


def test_a_draw_depends_on_number_and_seed_but_not_on_the_order_of_the_files() -> None:
    pool = named_pool((40, 90))
    first = draw_of(pool, Count(20, 10))
    assert all(draw_of(named_pool((40, 90), order), Count(20, 10)) == first for order in range(3))
    others = [draw_of(pool, Count(20, 10, number), seed) for number, seed in ((2, 0), (3, 0), (1, 1), (2, 1))]
    assert len({frozenset(train) for train, _ in [first, *others]}) == 5
    for train, test in [first, *others]:
        assert not train & test
    numbers = 200  # the mean share of a class that is drawn is the share asked for, so no draw prefers an image
    hits = sum("c001/0007.jpg" in draw_of(pool, Count(20, 10, number))[0] for number in range(1, numbers + 1))
    assert abs(hits / numbers - 20 / 90) < 4 * np.sqrt(20 / 90 * 70 / 90 / numbers)


def test_the_test_images_are_the_same_for_any_number_of_training_images() -> None:
    pool = named_pool((80, 90))
    small, large = draw_of(pool, Count(5, 30)), draw_of(pool, Count(50, 30))
    assert small[1] == large[1] and small[0] < large[0]


def test_few_images_change_places_when_one_is_added() -> None:
    before, after = (draw_of(named_pool((n, 60)), Count(20, 10)) for n in (60, 61))
    assert len(before[0] - after[0]) <= 1 and len(before[1] - after[1]) <= 1


def test_a_folder_is_divided_by_count(tmp_path: Path, context: Context) -> None:
    data = str(tree(tmp_path / "pets", per_class=9))
    cut = Cut(Count(4, 3), seed=2)
    train, test, whole = (names(data, split, context, cut) for split in ("train", "test", "all"))
    assert len(train) == 8 and len(test) == 6 and train | test < whole and not train & test
    origin = open_split(data, "test", context, cut).origin
    assert origin.rule == "4 train and at most 3 test images of each class, draw 1, seed 2"
    assert Count(4, 0).text(1) == "4 train and all other test images of each class, draw 1, seed 1"
    within = Cut(Count(4, 3), seed=2, validation=0.25)
    assert len(names(data, "validation", context, within)) == 2 and names(data, "test", context, within) == test
    chosen = Cut(Count(4, 3), seed=2, classes=("cat=pet", "dog=pet", "yak"))
    tree(tmp_path / "pets", 9, ("yak", "zebu"))
    assert len(names(data, "train", context, chosen)) == 8  # 4 of the merged class


def test_draws_are_of_the_training_images_of_data_with_splits(context: Context) -> None:
    cut = Cut(Count(15, 5))
    train, test = (open_split("mnist-sample", split, context, cut) for split in ("train", "test"))
    assert len(train) == 150 and len(test) == 50
    assert {*train.ids, *test.ids} <= {*open_split("mnist-sample", "train", context).ids}


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            (9, 3, 4, 12),
            r"--split.train 5 needs 6 images of each class, so that one is left for testing, but /pool has 3 images of "
            r"class 'c001', and too few of 'c002'; use at most --split.train 2, or remove the class",
        ),
        ((9, 1), r"/pool has 1 image of class 'c001'; add images, or remove the class"),
        ((6, 5), r"/pool has 5 images of class 'c001'; use at most --split.train 4"),
    ],
)
def test_too_few_images_for_a_draw_are_named(counts: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        count_places(named_pool(counts), Count(5, 5), 0)
    assert (count_places(named_pool((6, 9)), Count(5, 5), 0) == IN_TEST).sum() == 1 + 4
    assert len(count_places(named_pool((6, 0, 9)), Count(5, 5), 0)) == 15  # a class without images is not checked


def test_images_with_several_labels_are_not_drawn(tmp_path: Path, context: Context) -> None:
    data = str(write_shapes(tmp_path, 40))
    with pytest.raises(UserError, match=r"--split.kind count draws images class by class.* may have several labels"):
        len(open_split(data, "train", context, Cut(Count(5, 5))))
