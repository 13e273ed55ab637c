"""A share of train becomes a validation split: of each class, by the names' hashes, for any kind of data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from imclass.core.config import Cut, Fold
from imclass.core.contracts import Dataset, Origin
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.catalog import open_split
from imclass.data.sets.mnist_sample import read_sample
from imclass.data.source import LazySplits
from imclass.data.subset import fold_numbers, lowest_ranked, rank, with_fold, with_validation
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


def test_validation_takes_the_lowest_ranked_images_of_each_class_of_train(tmp_path: Path, context: Context) -> None:
    data, cut = str(tree(tmp_path / "pets", per_class=20)), Cut(seed=3, validation=0.25)
    whole = names(data, "train", context, Cut(seed=3))
    expected = set()
    for label in ("cat", "dog"):
        ranked = sorted((name for name in whole if name.startswith(label)), key=lambda name: rank(name, 3))
        assert len(ranked) == 16
        expected |= set(ranked[:4])
    assert names(data, "validation", context, cut) == expected
    assert names(data, "train", context, cut) == whole - expected
    assert names(data, "test", context, cut) == names(data, "test", context, Cut(seed=3))
    assert names(data, "all", context, cut) == names(data, "all", context, Cut())
    for split in ("train", "validation", "test"):
        dataset = open_split(data, split, context, cut)
        assert dataset.split == split and dataset.splits == ("train", "validation", "test")


def test_a_subset_has_the_images_labels_and_ids_at_its_positions(context: Context) -> None:
    whole = open_split("mnist-sample", "train", context)
    train, validation = (open_split("mnist-sample", s, context, Cut(validation=0.1)) for s in ("train", "validation"))
    assert sorted([*train.ids, *validation.ids]) == sorted(whole.ids)
    assert np.bincount(validation.targets.numpy()).tolist() == [
        round(n / 10) for n in np.bincount(whole.targets.numpy()).tolist()
    ]
    place = {int(id_): i for i, id_ in enumerate(whole.ids)}
    for i in (0, 17, 998):
        position = place[int(validation.ids[i])]
        other = whole[position]
        assert np.array_equal(validation[i], other)
        assert validation.targets.numpy()[i] == whole.targets.numpy()[position]
        assert validation.array is not None and np.array_equal(validation.array[i], other)
        assert validation.name(i) == whole.name(position)
    assert validation.classes == whole.classes and validation.origin == whole.origin
    assert len({whole.digest(), train.digest(), validation.digest()}) == 3
    again = open_split("mnist-sample", "train", context, Cut(validation=0.1))
    assert again.digest() == train.digest()
    assert open_split("mnist-sample", "train", context, Cut(validation=0.1, seed=1)).digest() != train.digest()


def test_a_validation_folder_without_a_test_folder_becomes_the_test_split(tmp_path: Path, context: Context) -> None:
    for part, count in (("train", 20), ("val", 5)):
        tree(tmp_path / "pets" / part, per_class=count)
    data, cut = str(tmp_path / "pets"), Cut(validation=0.2)
    assert open_split(data, "test", context, cut).split == "test"
    assert names(data, "test", context, cut) == names(data, "validation", context, Cut())
    assert len(names(data, "validation", context, cut)) == 8
    assert all(name.startswith("train/") for name in names(data, "validation", context, cut))
    test = open_split(data, "test", context, cut)
    assert test.digest() == open_split(data, "validation", context).digest()
    with pytest.raises(UserError, match="has no split 'tset'; did you mean 'test'"):
        open_split(data, "tset", context, cut)
    tree(tmp_path / "pets" / "test", per_class=5)
    with pytest.raises(UserError, match="has a validation and a test split, so no validation split can be taken"):
        open_split(data, "train", context, cut)


@pytest.mark.parametrize(
    ("count", "share", "taken"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (10, 0.2, 2), (0, 0.5, 0)]
)
def test_at_least_one_of_two_names_is_taken_and_never_all(count: int, share: float, taken: int) -> None:
    assert len(lowest_ranked([str(i) for i in range(count)], 0, share)) == taken


def test_multi_label_images_are_cut_by_hash_alone(tmp_path: Path, context: Context) -> None:
    data, cut = str(write_shapes(tmp_path, 40)), Cut(seed=2, validation=0.25)
    whole = names(data, "train", context, Cut(seed=2))
    assert len(whole) == 32
    assert names(data, "validation", context, cut) == set(sorted(whole, key=lambda name: rank(name, 2))[:8])
    assert isinstance(open_split(data, "validation", context, cut).targets, AnyOf)


def test_a_cut_reads_only_the_splits_that_are_used() -> None:
    read: list[str] = []

    def make(split: str) -> Dataset:
        read.append(split)
        return read_sample(split)

    splits = with_validation(LazySplits(("train", "test"), make), Cut(validation=0.1))
    assert list(splits) == ["train", "validation", "test"] and read == []
    assert len(splits["test"]) == 2_000 and read == ["test"]
    assert len(splits["train"]) + len(splits["validation"]) == 10_000 and read == ["test", "train"]


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
        len(with_fold(splits, Fold(5, 1), 0)["test"])
