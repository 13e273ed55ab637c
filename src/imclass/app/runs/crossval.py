"""Cross-validation: an ordinary run for each fold, their pooled predictions, and the ensemble of their models."""

import contextlib
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.load import load_classifier
from imclass.app.runs.beginning import classes_to_grow, open_init
from imclass.app.runs.directory import Plan, Run
from imclass.app.runs.material import check_resumable, open_training_data, plugins_of
from imclass.app.runs.train import DEFAULT_EXECUTION, Job, Measured, class_counts, perform, prepare
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.settings.record import read_run_record
from imclass.core.codec import to_json
from imclass.core.config import Cut, Execution, Fold, Training
from imclass.core.contracts import Dataset, Evaluation
from imclass.core.errors import UserError, require
from imclass.core.model_file import DataFacts, Metrics, Provenance
from imclass.core.runtime import library_versions
from imclass.data.catalog import OpenData, take_split
from imclass.data.readable import check_scorable
from imclass.data.source import ALL_IMAGES
from imclass.data.subset import VALIDATION, Subset, fold_pool
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.folds import OUT_OF_FOLD, CrossvalResult, pool_folds, read_folds
from imclass.evaluation.leaks import mark_trained, trained_contents
from imclass.evaluation.measures.growth import with_old_classes
from imclass.evaluation.results import ResultRow, image_names, read_row, save_scores
from imclass.evaluation.score import evaluate
from imclass.evaluation.unpack import save_classifier
from imclass.models.classifier import networks
from imclass.store.context import Context, pixels_in
from imclass.training.events import Consumer, Event, FoldEnd, RunPosition
from imclass.training.kinds import kind_tables
from imclass.training.plan import resolve_models


@dataclass(frozen=True)
class PooledData:
    """The images that are divided into folds, and those that are held back from all folds."""

    pool: Dataset
    held_back: Dataset | None  # the test split that the data comes with, or its validation split
    facts: DataFacts  # for the ensemble's model file
    notes: tuple[str, ...]  # for the user


@dataclass(frozen=True)
class CrossValidation:
    """A cross-validation that has passed every check, and can begin or be resumed."""

    run: Run
    config: Training  # of every fold, except for `split`
    execution: Execution
    context: Context
    given: Collection[str]
    data: PooledData
    first: Job | None  # the first fold; None if the cross-validation is finished

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the notes for the user, to be printed before training."""
        return tuple(dict.fromkeys([*self.data.notes, *(self.first.notes if self.first else ())]))

    @property
    def record(self) -> dict[str, Any]:
        """Return the configuration as JSON, as a dry run prints it."""
        return {"training": to_json(self.config), "execution": to_json(self.execution), **self.run.crossval}

    def jobs(self) -> Iterator[Job]:
        """Yield the job of each fold, prepared only when it is needed. The jobs of finished folds have nothing to do.

        All folds use the runtime and the numbers of epochs of the first one, so that they are comparable and share the
        features in the store.
        """
        if self.first is None:
            return
        measured = Measured(self.first.runtime, self.first.resolved)
        yield self.first
        for number in range(2, self.run.folds + 1):
            config = fold_config(self.config, self.run.folds, number)
            run = self.run.fold(number)
            yield prepare(config, run, self.context, self.execution, given=self.given, preset=measured)

    def finish(self) -> None:
        """Write the pooled scores, the ensemble, and its scores on the images that were held back."""
        with self.run.hold_lock():
            self.run.remove_partial_files()
            folder = self.run.folder / SCORES
            folder.mkdir(exist_ok=True)
            result = pool_folds([fold_row(self.run, n) for n in range(1, self.run.folds + 1)], self.scope)
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
        folds, data = self.run.folds, self.config.data
        return (
            f"all {len(self.data.pool):,} images in {folds} folds of {data}, each scored by a model trained without it"
        )

    def ensemble(self) -> Ensemble:
        """Return the ensemble of the folds' models, with a provenance that describes all of them."""
        folds = self.run.folds
        models = [load_classifier(self.run.fold(number).folder, self.context) for number in range(1, folds + 1)]
        init = (models[0].trained or Provenance()).init
        return Ensemble(
            tuple(EnsembleMember(model) for model in models),
            trained=Provenance(
                data=self.data.facts,
                recipe=to_json(self.config) | self.run.crossval,
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


def prepare_folds(
    config: Training,
    run: Run,
    context: Context,
    execution: Execution = DEFAULT_EXECUTION,
    dry: bool = False,
    given: Collection[str] = (),
) -> CrossValidation:
    """Check and prepare a cross-validation with `run.folds` folds. Raise `UserError` if anything is invalid.

    The arguments are those of `prepare`.
    """
    require(run.folds >= 2, "crossval", run.folds, "at least 2 folds")
    check_split(config, given)
    sized = replace(context, max_pixels=pixels_in(config.max_megapixels))
    old = classes_to_grow(config, open_init(config, sized, dry)) if config.grow else ()
    config, notes = settle_folds(config, run.folds, given, sized, old)
    data = open_pool(config, run.folds, notes, sized, old)
    run, config = replace(run, kinds=kind_tables(context)), resolve_models(config, context)
    begun = plan_run(run, config, execution, data, context)
    check_resumable(run, data.facts)
    first: Job | None = None
    if not run.is_finished:
        fold = fold_config(config, run.folds, 1)
        preset = None
        if begun.runtime is not None and begun.resolved is not None:
            preset = Measured(begun.runtime, begun.resolved)
        first = prepare(fold, run.fold(1), context, execution, dry, given, preset)
        if not dry:
            run.begin(begun, first.runtime, resolved=first.resolved)
    return CrossValidation(run, config, execution, sized, given, data, first)


def perform_folds(crossval: CrossValidation, consumers: Sequence[Consumer] = ()) -> Generator[Event, None, None]:
    """Run all folds, yield each event after all consumers have seen it, and make the ensemble.

    A finished cross-validation yields nothing.
    """
    with contextlib.ExitStack() as stack:
        for consumer in consumers:
            stack.callback(consumer.close)
        for event in fold_events(crossval):
            for consumer in consumers:
                consumer.see(event)
            yield event


def fold_events(crossval: CrossValidation) -> Iterator[Event]:
    """Yield the events of all folds, with a `FoldEnd` after each, then make the ensemble. End if a fold is stopped."""
    for number, job in enumerate(crossval.jobs(), 1):
        at = RunPosition()
        with contextlib.closing(perform(job)) as events:
            for event in events:
                at = event.at
                yield event
        if not job.run.is_finished:
            return
        run = crossval.run
        yield FoldEnd(at, number, run.folds, job.run.folder, fold_row(run, number).evaluation)
    if not crossval.run.is_finished:
        crossval.finish()


def check_split(config: Training, given: Collection[str]) -> None:
    """Raise `UserError` if the user chose a division of the data, because cross-validation makes its own."""
    chosen = [key for key in given if key.split(".")[0] == "split"]
    if chosen:
        raise UserError(f"--crossval divides the data into folds, so leave out --{chosen[0].replace('_', '-')}")
    if isinstance(config.split, Fold):
        raise UserError("the configuration belongs to a single fold; use the one of the cross-validation, or a recipe")


def fold_config(config: Training, folds: int, number: int) -> Training:
    """Return the config of one fold's run."""
    return replace(config, split=Fold(folds, number))


def settle_folds(
    config: Training, folds: int, given: Collection[str], context: Context, old: tuple[str, ...] = ()
) -> tuple[Training, tuple[str, ...]]:
    """Return the config, adapted to the fold with the fewest training images, and the notes on the data.

    All folds then have the same stages and batches, although some have one image more than others. `old` contains the
    classes of a growing model.
    """
    configs = (fold_config(config, folds, number) for number in range(1, folds + 1))
    each = [open_training_data(fold, given, context, old) for fold in configs]
    smallest = min(each, key=lambda fold: (len(fold[0].stages), len(fold[1].train)))[0]
    settled = replace(smallest, split=config.split)
    # The notes of a fold that would be adapted differently are not true of the run.
    same = (data for fold, data in each if replace(fold, split=config.split) == settled)
    return settled, tuple(dict.fromkeys(note for data in same for note in data.notes))


def open_pool(config: Training, folds: int, notes: Sequence[str], context: Context, old: tuple[str, ...]) -> PooledData:
    """Open the images to divide into folds, and those to hold back. Raise `UserError` for unsuitable splits."""
    cut = Cut(seed=config.split_seed, classes=config.classes, old=old)
    splits = OpenData(config.data, context).uncut_splits(cut)
    pool, rule, held_back = fold_pool(splits), f"{folds} folds, seed {config.split_seed}", None
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
    origin = pool.origin
    facts = DataFacts(
        name=origin.name,
        path=origin.path,
        rule=rule,
        digest=pool.digest(),
        splits=("train", "test") if held_back is not None else ("train",),
        cut=cut,
        plugins=plugins_of(config, context),
        licence=origin.licence,
        notes=origin.notes,
    )
    return PooledData(pool, held_back, facts, tuple(notes))


def plan_run(run: Run, config: Training, execution: Execution, data: PooledData, context: Context) -> Plan:
    """Return the content of the cross-validation's config.json. Raise `UserError` if `run` has other results."""
    row = networks(context)[config.model.network].row
    parts = {"train": data.pool} | ({"test": data.held_back} if data.held_back is not None else {})
    counts = {split: class_counts(part).tolist() for split, part in parts.items()}
    return run.plan(config, execution, row, data.facts, counts, {split: len(part) for split, part in parts.items()})


def fold_row(run: Run, number: int) -> ResultRow:
    """Return the row with the test scores of a finished fold. Raise `UserError` if they are missing or damaged."""
    fold = run.fold(number)
    path = max((fold.folder / "legs").glob("*/"), default=fold.folder) / SCORES / "test.npz"
    try:
        return read_row(path)
    except UserError as error:
        fix = f"To repeat fold {number}, remove {fold.folder} and run the same command again"
        raise UserError(f"{error}\n{fix}") from None


def pooled_result(run: Run) -> CrossvalResult:
    """Return the result of a finished cross-validation. Raise `UserError` if its file is missing or damaged."""
    try:
        return read_folds(out_of_fold_scores(run.folder))
    except UserError as error:
        fix = f"To write the file again, remove {run.model} and run the same `imclass train` command again"
        raise UserError(f"{error}\n{fix}") from None


def metrics_of(found: Evaluation) -> Metrics:
    """Return the measures of an evaluation for a model file."""
    return Metrics(dict(found.measures), len(found.targets), found.total, found.main)


def is_crossval(run: Run, context: Context) -> bool:
    """Return whether a folder contains a finished cross-validation."""
    return run.is_finished and bool(read_run_record(run.config, kind_tables(context)).crossval)


def out_of_fold_scores(folder: Path) -> Path:
    """Return the path of the pooled scores in the folder of a cross-validation."""
    return folder / SCORES / f"{OUT_OF_FOLD}.npz"
