"""Cross-validation: an ordinary run for each fold, their pooled predictions, and the ensemble of their models."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imclass.app.load import load_classifier
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.series.results import division_rows, out_of_fold_scores
from imclass.app.series.series import DividedData, RunSeries, pool_facts
from imclass.app.settings.series import Series
from imclass.core.codec import to_json
from imclass.core.config import Cut, RunConfig
from imclass.core.contracts import Dataset, Evaluation
from imclass.core.errors import UserError
from imclass.core.model_file import Metrics, Provenance
from imclass.core.runtime import library_versions
from imclass.data.catalog import OpenData, take_split
from imclass.data.readable import check_scorable
from imclass.data.source import ALL_IMAGES
from imclass.data.subset import VALIDATION, Subset, division_pool
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.folds import OUT_OF_FOLD, CrossvalResult, pool_folds
from imclass.evaluation.leaks import mark_trained, trained_contents
from imclass.evaluation.measures.growth import with_old_classes
from imclass.evaluation.results import image_names, save_scores
from imclass.evaluation.score import evaluate
from imclass.evaluation.unpack import save_classifier
from imclass.store.context import Context


class CrossValidation(RunSeries):
    """A cross-validation."""

    @staticmethod
    def open(
        config: RunConfig, series: Series, notes: Sequence[str], context: Context, old: tuple[str, ...]
    ) -> DividedData:
        """Open the images to divide into folds, and those to hold back. Raise `UserError` for unsuitable splits."""
        cut = Cut(seed=config.split_seed, classes=config.classes, old=old)
        splits = OpenData(config.data, context).uncut_splits(cut)
        pool, rule, held_back = division_pool(splits), f"{series.count} folds, seed {config.split_seed}", None
        if ALL_IMAGES not in splits:
            if VALIDATION in splits and "test" in splits:
                problem = f"{config.data} comes with a validation split and a test split"
                raise UserError(f"{problem}, but --crossval divides only train; move the validation images to train")
            rule = f"{pool.origin.rule}; train divided into {rule}"
            present = next((split for split in ("test", VALIDATION) if split in splits), None)
            if present is not None:
                base = take_split(splits, present, config.data)
                held_back = Subset(base, np.arange(len(base)), "test", ("train", "test"))
                check_scorable((held_back,))
                use = f"its {len(pool):,} train images are divided into folds, and the ensemble is scored once on the"
                use += f" {len(base):,} {present} images"
                notes = (*notes, *base.origin.notes, f"{config.data} comes with a {present} split: {use}")
        parts: dict[str, Dataset] = {"train": pool} | ({"test": held_back} if held_back is not None else {})
        facts = pool_facts(config, pool, rule, tuple(parts), cut, context)
        return DividedData(pool, held_back, parts, facts, tuple(notes))

    def finish(self) -> None:
        """Write the pooled scores, the ensemble, and its scores on the images that were held back."""
        with self.run.hold_lock():
            self.run.remove_partial_files()
            folder = self.run.folder / SCORES
            folder.mkdir(exist_ok=True)
            result = pool_folds(division_rows(self.run), self.scope)
            result.save(out_of_fold_scores(self.run.folder))
            ensemble = self.ensemble()
            scored = {OUT_OF_FOLD: result.pooled}
            if self.data.held_back is not None:
                scored["test"] = self.score_held_back(ensemble, self.data.held_back, result)
            metrics = {split: metrics_of(found) for split, found in scored.items()}
            trained = replace(ensemble.trained or Provenance(), metrics=metrics)
            save_classifier(self.run.model, replace(ensemble, trained=trained), self.context)

    @property
    def scope(self) -> str:
        """Return a phrase that says which images have pooled scores."""
        folds, data = len(self.run.divisions), self.config.data
        return (
            f"all {len(self.data.pool):,} images in {folds} folds of {data}, each scored by a model trained without it"
        )

    def ensemble(self) -> Ensemble:
        """Return the ensemble of the folds' models, with a provenance that describes all of them."""
        models = [load_classifier(fold.folder, self.context) for fold in self.run.divisions]
        folds = len(models)
        init = (models[0].trained or Provenance()).init
        return Ensemble(
            tuple(EnsembleMember(model) for model in models),
            trained=Provenance(
                data=self.data.facts,
                recipe=to_json(self.config) | self.run.series_entry,
                chosen=f"mean of the probabilities of {folds} models, each trained without one of {folds} folds",
                init=init,
            ),
            versions=library_versions(),
            licence=init.licence if init else "",
        )

    def score_held_back(self, ensemble: Ensemble, held_back: Dataset, result: CrossvalResult) -> Evaluation:
        """Score the images that were held back from the folds, and save the scores."""
        part = mark_trained(held_back, trained_contents([ensemble]))
        found = evaluate(ensemble, part.dataset, workers=self.execution.workers, strict=self.execution.strict)
        found = with_old_classes(part.with_counts(found), self.data.facts.cut.old)
        scope = f"split test of {self.config.data} (held back from all folds)"
        facts = replace(result.row.facts, scope=scope, split="test")
        save_scores(self.run.folder / SCORES / "test.npz", found, image_names(held_back, found), to_json(facts))
        return found


def metrics_of(found: Evaluation) -> Metrics:
    """Return the measures of an evaluation for a model file."""
    return Metrics(dict(found.measures), len(found.targets), found.total, found.main)
