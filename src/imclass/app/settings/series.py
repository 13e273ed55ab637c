"""The kinds of series. A series trains with one configuration on several divisions of the data, each in its own run."""
# Tested in tests/app/series/test_repeats.py

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from imclass.core.codec import from_json
from imclass.core.config import Count, Division, Fold, Split
from imclass.core.errors import UserError, require


@dataclass(frozen=True)
class Series(ABC):
    """A number of runs with one configuration. Each trains on another division of the data, counted from 1."""

    option: ClassVar[str]  # of `train`; also the key in config.json for the number of runs
    title: ClassVar[str]  # the name of the kind
    division: ClassVar[str]  # the word for a division
    folder: ClassVar[str]  # contains the runs; also the plural of `division`
    count: int

    @abstractmethod
    def rule(self, split: Split, number: int) -> Division:
        """Return the rule of one division, given the rule in the configuration of the series."""

    @abstractmethod
    def check(self, split: Split, given: Collection[str]) -> None:
        """Raise `UserError` if the rule in the configuration does not suit the series, or if the user may not set it.

        `given` contains the config keys that the user specified.
        """

    @property
    def entry(self) -> dict[str, int]:
        """Return the entry of config.json that marks the folder of a series."""
        return {self.option: self.count}


@dataclass(frozen=True)
class Crossval(Series):
    """A cross-validation, which divides the data into folds. Each fold is held out once."""

    option: ClassVar[str] = "crossval"
    title: ClassVar[str] = "cross-validation"
    division: ClassVar[str] = "fold"
    folder: ClassVar[str] = "folds"

    def rule(self, split: Split, number: int) -> Division:
        """Return the rule that holds out one fold."""
        return Fold(self.count, number)

    def check(self, split: Split, given: Collection[str]) -> None:
        """Raise `UserError` if the user chose a division of the data, because a cross-validation makes its own."""
        chosen = [key for key in given if key.split(".")[0] == "split"]
        if chosen:
            raise UserError(f"--crossval divides the data into folds, so leave out --{chosen[0].replace('_', '-')}")
        if isinstance(split, Fold):
            raise UserError(
                "the configuration belongs to a single fold; use the one of the cross-validation, or a recipe"
            )


@dataclass(frozen=True)
class Repeats(Series):
    """Repeated random splits. Each draws a number of training images and test images of each class."""

    option: ClassVar[str] = "repeats"
    title: ClassVar[str] = "repeated splits"
    division: ClassVar[str] = "split"
    folder: ClassVar[str] = "splits"

    def rule(self, split: Split, number: int) -> Division:
        """Return the rule of one random draw."""
        return replace(count_rule(split), number=number)

    def check(self, split: Split, given: Collection[str]) -> None:
        """Raise `UserError` unless the rule draws images at random, and its number is left to the series."""
        rule = count_rule(split)
        if "split.number" in given:
            raise UserError(f"--repeats {self.count} trains on splits 1 to {self.count}, so leave out --split.number")
        if rule.number != 1:
            raise UserError(
                "the configuration belongs to a single split; use the one of the repeated splits, or a recipe"
            )


SERIES: tuple[type[Series], ...] = (Crossval, Repeats)


def count_rule(split: Split) -> Count:
    """Return the rule, which draws images at random. Raise `UserError` for a rule of another kind."""
    if not isinstance(split, Count):
        fix = "add --split.kind count, and choose the numbers of images with --split.train and --split.test"
        raise UserError(f"--repeats needs random splits, but the kind of the split is {split.kind}; {fix}")
    return split


def series_of(crossval: int | None, repeats: int | None) -> Series | None:
    """Return the series that the options of `train` ask for, or None for a single run.

    Raise `UserError` if both options are given, or if the number of runs is too small.
    """
    if crossval is not None and repeats is not None:
        raise UserError("--crossval and --repeats divide the data in different ways; leave out one of the two")
    counts = ((Crossval, crossval), (Repeats, repeats))
    series = next((kind(count) for kind, count in counts if count is not None), None)
    if series is not None:
        require(series.count >= 2, series.option, series.count, f"at least 2 {series.folder}")
    return series


def series_in(record: Mapping[str, Any]) -> Series | None:
    """Return the series of which a config.json has the record, or None for the record of a single run."""
    return next((kind(from_json(int, record[kind.option])) for kind in SERIES if kind.option in record), None)
