"""A share of train becomes a validation split: of each class, by the names' hashes, for any kind of data."""

from pathlib import Path

import numpy as np
import pytest

from imclass.core.config import Cut
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf
from imclass.data.catalog import open_split
from imclass.data.sets.mnist_sample import read_sample
from imclass.data.source import LazySplits
from imclass.data.subset import lowest_ranked, rank, with_validation
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
