"""A series that has passed every check: what its runs have in common, and the run on each division of the data."""
# Tested in tests/app/series/test_crossval.py

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imclass.app.runs.directory import Run
from imclass.app.runs.material import plugins_of
from imclass.app.runs.train import Measured
from imclass.app.series.division import DivisionJob, prepare_division
from imclass.app.settings.record import config_entry
from imclass.app.settings.series import Series
from imclass.core.codec import to_json
from imclass.core.config import Cut, Execution, RunConfig
from imclass.core.contracts import Dataset
from imclass.core.model_file import DataFacts
from imclass.store.context import Context


@dataclass(frozen=True)
class DividedData:
    """The images that are divided, those that are held back from all runs, and the facts about both."""

    pool: Dataset
    held_back: Dataset | None  # the test split that the data comes with, or its validation split, if it is scored
    splits: Mapping[str, Dataset]  # whose images are counted in config.json
    facts: DataFacts
    notes: tuple[str, ...]  # for the user


@dataclass(frozen=True)
class RunSeries(ABC):
    """A series that has passed every check, and can begin or be resumed."""

    run: Run
    config: RunConfig  # of every run, except for `split`
    execution: Execution
    context: Context
    given: Collection[str]
    data: DividedData
    first: DivisionJob | None  # the first run; None if the series is finished

    @staticmethod
    @abstractmethod
    def open(
        config: RunConfig, series: Series, notes: Sequence[str], context: Context, old: tuple[str, ...]
    ) -> DividedData:
        """Open the images to divide. Raise `UserError` for unsuitable splits. `old`: classes of a growing model."""

    @abstractmethod
    def finish(self) -> None:
        """Write what the finished runs give together. The file that marks the series as finished is written last."""

    @property
    def series(self) -> Series:
        """Return the kind of the series and the number of its runs."""
        return series_in_run(self.run)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the notes for the user, to be printed before training."""
        return tuple(dict.fromkeys([*self.data.notes, *(self.first.notes if self.first else ())]))

    @property
    def record(self) -> dict[str, Any]:
        """Return the configuration as JSON, as a dry run prints it."""
        return {**config_entry(self.config), "execution": to_json(self.execution), **self.run.series_entry}

    def jobs(self) -> Iterator[DivisionJob]:
        """Yield the job of each run, prepared only when it is needed. The jobs of finished runs have nothing to do.

        All runs use the runtime and the numbers of epochs of the first one, so that they are comparable and share the
        features in the store.
        """
        if self.first is None:
            return
        measured = Measured(self.first.runtime, self.first.resolved)
        yield self.first
        for number, run in enumerate(self.run.divisions[1:], 2):
            config = division_config(self.config, self.run, number)
            yield prepare_division(config, run, self.context, self.execution, False, self.given, measured)


def division_config(config: RunConfig, run: Run, number: int) -> RunConfig:
    """Return the config of the run on one division, counted from 1. Raise `ValueError` if `run` is not a series."""
    return replace(config, split=series_in_run(run).rule(config.split, number))


def series_in_run(run: Run) -> Series:
    """Return the series of which a folder has the runs. Raise `ValueError` if it has a single run."""
    if run.series is None:
        raise ValueError(f"{run} is a single run")
    return run.series


def pool_facts(
    config: RunConfig, pool: Dataset, rule: str, splits: tuple[str, ...], cut: Cut, context: Context
) -> DataFacts:
    """Return the facts about the images that are divided by a rule."""
    origin = pool.origin
    return DataFacts(
        name=origin.name,
        path=origin.path,
        rule=rule,
        digest=pool.digest(),
        splits=splits,
        cut=cut,
        plugins=plugins_of(config, context),
        licence=origin.licence,
        notes=origin.notes,
    )
