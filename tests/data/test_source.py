"""Splits that are made at their first use."""

from collections.abc import Mapping

import pytest

from imclass.core.contracts import Dataset
from imclass.data.sets.mnist_sample import read_sample
from imclass.data.source import LazySplits


def test_a_split_is_made_once_at_its_first_use() -> None:
    made: list[str] = []

    def make(split: str) -> Dataset:
        made.append(split)
        return read_sample(split)

    splits = LazySplits(("train", "test"), make)
    assert isinstance(splits, Mapping) and list(splits) == ["train", "test"] and len(splits) == 2
    assert "test" in splits and "validation" not in splits and splits.get("validation") is None and made == []
    assert splits["test"] is splits["test"] and made == ["test"]
    assert dict(splits)["train"] is splits["train"] and made == ["test", "train"]
    with pytest.raises(KeyError, match="validation"):
        splits["validation"]
