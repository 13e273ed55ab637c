"""Repeated random splits: an ordinary run for each, and the mean and standard deviation of their results.

An image may be a test image of several splits, so their predictions are not pooled. It may also be a training image of
one split and a test image of another, so their models are not combined.
"""

from collections.abc import Sequence
from dataclasses import replace

from imclass.app.series.results import division_rows, save_results
from imclass.app.series.series import DividedData, RunSeries, pool_facts
from imclass.app.settings.series import Series, count_rule
from imclass.core.config import RunConfig, Share
from imclass.core.text import list_names
from imclass.data.catalog import OpenData
from imclass.data.source import ALL_IMAGES
from imclass.data.subset import TRAIN_AND_TEST, division_pool
from imclass.evaluation.division_scores import division_scores
from imclass.store.context import Context


class RepeatedSplits(RunSeries):
    """Runs on repeated random splits of the same images."""

    @staticmethod
    def open(
        config: RunConfig, series: Series, notes: Sequence[str], context: Context, old: tuple[str, ...]
    ) -> DividedData:
        """Open the images of which each split draws some. Images that the data holds out itself are not used."""
        cut = replace(config.cut, old=old, validation=0.0)
        opened, rule = OpenData(config.data, context), count_rule(config.split)
        splits = opened.uncut_splits(replace(cut, rule=Share()))
        pool = division_pool(splits)
        text = f"{series.count} random splits of {rule.sizes_text}, seed {config.split_seed}"
        if ALL_IMAGES not in splits:
            text = f"{pool.origin.rule}; train divided into {text}"
            others = tuple(name for name in splits if name != "train")
            use = f"the {series.count} splits are drawn from its train images"
            unused = f", and its {list_names(others)} images are not used" if others else ""
            notes = (*notes, f"{config.data} comes with splits: {use}{unused}")
        first = {name: opened.take(name, cut) for name in TRAIN_AND_TEST}
        facts = pool_facts(config, pool, text, TRAIN_AND_TEST, replace(cut, validation=config.validation), context)
        return DividedData(pool, None, first, facts, tuple(notes))

    def finish(self) -> None:
        """Write the results of all splits."""
        with self.run.hold_lock():
            self.run.remove_partial_files()
            save_results(self.run, division_scores([row.evaluation for row in division_rows(self.run)]))
