"""The training images of a run, its held-out splits, and the facts about both."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from imclass.app.runs.directory import Run
from imclass.app.runs.objectives import settle_objectives
from imclass.core.classes import class_key
from imclass.core.config import (
    Augment,
    Average,
    Cut,
    Fitting,
    Model,
    Objective,
    Optimiser,
    RunConfig,
    Schedule,
    Solver,
    Stage,
    Training,
)
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import DataFacts
from imclass.core.tables import NO_FILE, EntryTable
from imclass.core.targets import OneOf
from imclass.core.text import list_names, suggestion
from imclass.data.catalog import canonical_name, dataset_table, open_splits, shadowed_folder_note, take_split
from imclass.data.readable import check_learnable, check_scorable
from imclass.data.source import LazySplits
from imclass.data.subset import VALIDATION, with_validation
from imclass.evaluation.leaks import leak_notes
from imclass.models.classifier import networks
from imclass.pipelines.part import every_part, pipeline_parts
from imclass.store.context import Context
from imclass.training.kinds import kind_tables
from imclass.training.plan import in_stage

Config = TypeVar("Config", Training, Fitting)
MIN_VALIDATED = 5  # minimum number of training images per class if some are held out for validation


@dataclass(frozen=True)
class TrainingData:
    """The training images of a run and its held-out splits."""

    train: Dataset
    held_out: Mapping[str, Dataset]
    facts: DataFacts  # for the model file
    notes: tuple[str, ...]  # for the user
    unseen: tuple[str, ...] = ()  # the classes of a growing model that have no training images


def open_training_data(
    config: Training, given: Collection[str], context: Context, old: tuple[str, ...] = ()
) -> tuple[Training, TrainingData]:
    """Open the data that a config names. Return the config, adapted to this data, and the opened data.

    If the data has its own validation and test splits, these are used: a recipe's `validation` is then set to 0, and a
    `validation` chosen by the user raises `UserError`. Data that does not suit the config also raises `UserError`.
    `old` contains the classes of a growing model.
    """
    unread = shadowed_folder_note(config.data, context)
    uncut = open_splits(config.data, context, replace(config.cut, validation=0.0, old=old))
    config = replace(config, data=canonical_name(config.data, context))
    config, notes = settle_validation(config, uncut, given)
    config, dropped = settle_stages(config, uncut, given)
    splits = with_validation(uncut, config.cut)
    train = take_split(splits, "train", config.data)
    check_learnable(train)
    check_balance(config, train)
    unseen = unseen_classes(config, train, old)
    config, batches = settle_batches(config, len(train), given)
    config, objectives = settle_objectives(config, train, given)
    check_data(config, splits)
    listing = (*unread, *splits_notes(splits), *notes, *dropped, *batches, *objectives)
    facts = data_facts(splits, config.cut, old, plugins_of(config, context))
    return config, with_leaks(TrainingData(train, held_out_of(splits), facts, listing, unseen))


def open_fit_data(config: Fitting, given: Collection[str], context: Context) -> tuple[Fitting, TrainingData]:
    """Open the data that the config of a pipeline names. Return the config, adapted to this data, and the opened data.

    The rules are those of `open_training_data`.
    """
    unread = shadowed_folder_note(config.data, context)
    uncut = open_splits(config.data, context, replace(config.cut, validation=0.0))
    config = replace(config, data=canonical_name(config.data, context))
    config, notes = settle_validation(config, uncut, given)
    splits = with_validation(uncut, config.cut)
    train = take_split(splits, "train", config.data)
    check_learnable(train)
    check_held_back(config.validation, splits)
    counts = dict(zip(train.classes, train.targets.counts(len(train.classes)).tolist(), strict=True))
    last: Any = config.parts[-1]
    check_class_counts(counts, getattr(last, "min_images", 1), f"the part {last.kind}", config.data)
    facts = data_facts(splits, config.cut, (), plugins_of(config, context))
    return config, with_leaks(TrainingData(train, held_out_of(splits), facts, (*unread, *splits_notes(splits), *notes)))


def held_out_of(splits: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Return the splits that are not used for training. Raise `UserError` if one cannot be scored."""
    held_out = {name: dataset for name, dataset in splits.items() if name != "train"}
    check_scorable(tuple(held_out.values()))
    return held_out


def splits_notes(splits: Mapping[str, Dataset]) -> tuple[str, ...]:
    """Return the notes on the files that were ignored, each once."""
    return tuple(dict.fromkeys(note for dataset in splits.values() for note in dataset.origin.notes))


def with_leaks(data: TrainingData) -> TrainingData:
    """Return the data with notes on held-out images that are also training images."""
    return replace(data, notes=(*data.notes, *leak_notes(data.train, tuple(data.held_out.values()))))


def data_facts(splits: Mapping[str, Dataset], cut: Cut, old: tuple[str, ...], plugins: dict[str, str]) -> DataFacts:
    """Return the facts about the data that model files contain."""
    train = splits["train"]
    origin = train.origin
    return DataFacts(
        name=origin.name,
        path=origin.path,
        rule=origin.rule,
        digest=train.digest(),
        splits=tuple(splits),
        cut=replace(cut, old=old),
        plugins=plugins,
        licence=origin.licence,
        notes=origin.notes,
    )


def unseen_classes(config: Training, train: Dataset, old: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of a growing model that have no training images.

    Raise `UserError` if the user chose any other class that has none.
    """
    if not config.classes and not old:
        return ()
    kept = set(map(class_key, old))
    counts = train.targets.counts(len(train.classes)).tolist()
    empty = [name for name, count in zip(train.classes, counts, strict=True) if not count]
    wrong = [name for name in empty if class_key(name) not in kept]
    if wrong and config.classes:
        raise UserError(
            f"--classes: {config.data} has no training images of {list_names(wrong)}; add images, or leave it out"
        )
    return tuple(name for name in empty if name not in wrong)


def settle_validation(config: Config, uncut: LazySplits, given: Collection[str]) -> tuple[Config, tuple[str, ...]]:
    """Return the config with a suitable `validation`, and a note on the use of the data's own validation split."""
    if not config.validation or VALIDATION not in uncut:
        return config, ()
    if "test" not in uncut:
        splits = f"{config.data} has a validation split but no test split"
        held_out = f"{100 * config.validation:g}% of train is held out for validation"
        use = f"the validation split is reported as test, and {held_out}"
        return config, (f"{splits}: {use}",)
    if "validation" in given:
        problem = f"{config.data} comes with a validation split and a test split"
        raise UserError(f"{problem}, so --validation {config.validation:g} cannot be used; leave it out")
    use = f"used instead of the recipe's {100 * config.validation:g}% of train"
    return replace(config, validation=0.0), (f"{config.data} comes with a validation split, which is {use}",)


def settle_stages(config: Training, uncut: LazySplits, given: Collection[str]) -> tuple[Training, tuple[str, ...]]:
    """Remove validation and all stages but the first if a class has too few images. Return the config, and notes.

    Nothing is removed unless the recipe holds out images for validation and begins with a solver, which needs no
    validation.
    """
    first = config.stages[0]
    if not config.validation or "validation" in given or first.kind != "solve" or len(config.stages) == 1:
        return config, ()
    train = take_split(uncut, "train", config.data)
    few = [name for name, count in learned_counts(config, train).items() if count < MIN_VALIDATED]
    if not few:
        return config, ()
    skipped = ", ".join(stage.name or config.model.network for stage in config.stages[1:])
    why = f"{config.data} has fewer than {MIN_VALIDATED} training images of {list_names(tuple(few), 5)}"
    note = f"{why}, too few to hold out some for validation, so only the last layer is fitted and {skipped} is skipped"
    return replace(config, validation=0.0, stages=(first,)), (note,)


def settle_batches(config: Training, images: int, given: Collection[str]) -> tuple[Training, tuple[str, ...]]:
    """Return the config with no batch larger than the training split, and a note for each batch that was reduced.

    A batch chosen by the user is not changed.
    """
    stages, notes = list(config.stages), []
    for i, stage in enumerate(config.stages):
        chosen = {"batch", f"stages.{i}.batch", "stages"} & set(given)
        if stage.kind == "descend" and stage.batch > images > 0 and not chosen:
            stages[i] = replace(stage, batch=images, micro_batches=min(stage.micro_batches, images))
            notes.append(f"the recipe's batch of {stage.batch} is reduced to {images}, the number of training images")
    return replace(config, stages=tuple(stages)), tuple(notes)


def check_balance(config: Training, train: Dataset) -> None:
    """Raise `UserError` if `balance` or `costs` is set but images may have several labels, or if a class is unknown."""
    option = "--balance" if config.balance != "none" else "--costs" if config.costs else ""
    if option and not isinstance(train.targets, OneOf):
        raise UserError(
            f"{option} needs images with one label each, but the images of {config.data} may have several. Leave "
            f"out {option}, and use --validation 0.2, which fits a threshold for each class"
        )
    for name in config.costs:
        if name not in train.classes:
            near = suggestion(name, train.classes)
            raise UserError(f"--costs.{name}: {config.data} has no class {name!r}{near}")


def check_data(config: Training, splits: Mapping[str, Dataset]) -> None:
    """Raise `UserError` if the data does not suit the config."""
    check_held_back(config.validation, splits)
    for number, stage in enumerate(config.stages):
        with in_stage(number, stage.name or (stage.model or config.model).network):
            check_stage(stage, config, splits)


def check_held_back(validation: float, splits: Mapping[str, Dataset]) -> None:
    """Raise `UserError` if there are no training images, or if none are left for validation."""
    train = splits["train"]
    if len(train) == 0:
        raise UserError(f"{train.origin.path} has no training images")
    if validation and len(splits[VALIDATION]) == 0:
        problem = f"{train.origin.path} has one training image per class, which leaves nothing for validation"
        raise UserError(f"{problem}; leave out --validation, or add images")


def check_stage(stage: Stage, config: Training, splits: Mapping[str, Dataset]) -> None:
    """Raise `UserError` if a stage cannot be trained on the data."""
    if stage.solver is not None:
        check_solvable(stage.solver, config, splits["train"])
        return
    images = len(splits["train"])
    if stage.batch > images:
        problem = f"--batch {stage.batch} is larger than the number of training images ({images})"
        raise UserError(f"{problem}; choose a smaller batch")
    schedule = stage.descent[1]
    if schedule.needs_validation:
        option = f"--schedule.kind {schedule.kind}"
    elif stage.patience:
        option = f"--patience {stage.patience}"
    else:
        return
    if VALIDATION not in splits:
        raise UserError(
            f"{option} needs a validation split, but {config.data} has only {', '.join(splits)}; "
            "hold out part of train with --validation 0.1, or leave out the option"
        )


def learned_counts(config: Training, train: Dataset) -> dict[str, int]:
    """Return each class's number of training images, without empty classes if the model grows."""
    counts = zip(train.classes, train.targets.counts(len(train.classes)).tolist(), strict=True)
    return {name: count for name, count in counts if count or not config.grow}


def check_solvable(solver: Solver, config: Training, train: Dataset) -> None:
    """Raise `UserError` if there are too few classes for the solver, or too few training images of a class."""
    check_class_counts(learned_counts(config, train), solver.min_images, f"the solver {solver.kind}", config.data)


def check_class_counts(counts: Mapping[str, int], least: int, what: str, data: str) -> None:
    """Raise `UserError` if there are fewer than two classes, or fewer than `least` training images of a class."""
    if len(counts) < 2:
        found = f"only {list_names(tuple(counts))}" if counts else "no class"
        problem = f"{data} has training images of {found}"
        raise UserError(f"{problem}, and {what} needs at least two classes; add images of another")
    few = [name for name, count in counts.items() if count < least]
    if few:
        raise UserError(
            f"{data} has fewer than {least} training images of {list_names(tuple(few), 5)}. "
            f"{what[0].upper()}{what[1:]} needs at least {least} of each class; add images, or remove the class"
        )


def plugins_of(config: RunConfig, context: Context) -> dict[str, str]:
    """Return the SHA-256 of each plugin file in use, keyed by the entry that it defines, such as "network tiny"."""
    chosen = [*entries_of(config, context), (dataset_table(context), config.data)]
    return {entry: digest for table, name in chosen for entry, digest in table.plugin_digests(name).items()}


def entries_of(config: RunConfig, context: Context) -> list[tuple[EntryTable, str]]:
    """Return the table and the name of each kind, network and part that a config names."""
    if isinstance(config, Fitting):
        return [(pipeline_parts(context), part.kind) for part in every_part(config.parts)]
    kinds = kind_tables(context)
    chosen = [(kinds[Optimiser], stage.optimiser.kind) for stage in config.stages if stage.optimiser]
    chosen += [(kinds[Schedule], stage.schedule.kind) for stage in config.stages if stage.schedule]
    chosen += [(kinds[Solver], stage.solver.kind) for stage in config.stages if stage.solver]
    chosen += [(kinds[Average], stage.average.kind) for stage in config.stages if stage.average]
    chosen += [(kinds[Objective], stage.objective.kind) for stage in config.stages]
    chosen += [(kinds[Augment], rule.kind) for stage in config.stages for rule in stage.augment]
    chosen += [(networks(context), model.network) for model in models_of(config)]
    return chosen


def check_resumable(run: Run, facts: DataFacts) -> None:
    """Raise `UserError` if a run has results of classes that no file defines, because their code may have changed."""
    entries = [entry for entry, digest in facts.plugins.items() if digest == NO_FILE]
    if entries and run.has_work:
        problem = f"{list_names(entries)} {'are' if len(entries) > 1 else 'is'} not in a plugin file"
        fix = "choose another folder with `out`, or remove this one"
        raise UserError(f"{run.folder} has results, but cannot be resumed, because {problem}; {fix}")


def models_of(config: Training) -> list[Model]:
    """Return the config's model, then the model of each stage that has its own."""
    return [config.model, *(stage.model for stage in config.stages if stage.model)]
