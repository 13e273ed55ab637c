"""The images that a run learns from, those that it is judged by, and the facts of both."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from imclass.core.config import (
    Augment,
    BinaryCrossEntropy,
    CrossEntropy,
    Model,
    Objective,
    Optimiser,
    Schedule,
    Stage,
    Training,
)
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import DataFacts
from imclass.data.catalog import canonical_name, dataset_table, open_splits, shadowed_folder_note, take_split
from imclass.data.readable import check_learnable, check_scorable
from imclass.data.source import LazySplits
from imclass.data.subset import VALIDATION, with_validation
from imclass.evaluation.leaks import leak_notes
from imclass.models.classifier import networks
from imclass.store.context import Context
from imclass.training.kinds import kind_tables
from imclass.training.plan import Leg, in_stage

FEW_IMAGES = (
    1_000  # training images; with a few hundred photos the recipe `folder` is right on about half of five kinds
)


@dataclass(frozen=True)
class TrainingData:
    """The training images, the splits held out, what a model file keeps of them, and notes."""

    train: Dataset
    held_out: Mapping[str, Dataset]
    facts: DataFacts
    notes: tuple[str, ...]


def open_training_data(config: Training, given: Collection[str], context: Context) -> tuple[Training, TrainingData]:
    """Return the data of a config, and the config with the data's one spelling and the share it can have.

    Data with a validation and a test split keeps them: a share for validation is a `UserError` where the user gave it,
    and gives way where a recipe did. So is data that cannot be trained on as configured.
    """
    unread = shadowed_folder_note(config.data, context)
    whole = open_splits(config.data, context, replace(config.cut, validation=0.0))
    config = replace(config, data=canonical_name(config.data, context))
    config, notes = settle_validation(config, whole, given)
    splits = with_validation(whole, config.cut)
    train = take_split(splits, "train", config.data)
    check_learnable(train)
    config, batches = settle_batches(config, len(train), given)
    config, objectives = settle_objectives(config, train, given)
    check_data(config, splits)
    held_out = {name: dataset for name, dataset in splits.items() if name != "train"}
    check_scorable(tuple(held_out.values()))
    shared = leak_notes(train, tuple(held_out.values()))
    origin = train.origin
    facts = DataFacts(
        name=origin.name,
        path=origin.path,
        rule=origin.rule,
        digest=train.digest(),
        splits=tuple(splits),
        cut=config.cut,
        plugins=plugins_of(config, context),
        licence=origin.licence,
        notes=origin.notes,
    )
    notes = (*unread, *train.origin.notes, *notes, *batches, *objectives, *shared)
    return config, TrainingData(train, held_out, facts, notes)


def settle_validation(config: Training, whole: LazySplits, given: Collection[str]) -> tuple[Training, tuple[str, ...]]:
    """Return the config with a share for validation that its data can have, and a sentence on what that changes."""
    if not config.validation or VALIDATION not in whole:
        return config, ()
    if "test" not in whole:
        which = f"{config.data} has a validation split and no test split"
        share = f"{100 * config.validation:g} % of train"
        return config, (f"{which}: it is what is reported, as test, and {share} choose the weights",)
    if "validation" in given:
        why = f"{config.data} has a validation split and a test split of its own"
        raise UserError(f"{why}, so --validation {config.validation:g} has nothing to cut; leave it out")
    share = f"the recipe's share of {100 * config.validation:g} % of train gives way"
    return replace(config, validation=0.0), (f"{config.data} has a validation split of its own: {share}",)


def settle_batches(config: Training, images: int, given: Collection[str]) -> tuple[Training, tuple[str, ...]]:
    """Return the config with batches of no more than the training images, and a sentence for each that is smaller.

    A batch that the user gave stays as it is.
    """
    stages, notes = list(config.stages), []
    for i, stage in enumerate(config.stages):
        if stage.batch > images > 0 and not {"batch", f"stages.{i}.batch", "stages"} & set(given):
            stages[i] = replace(stage, batch=images, micro_batches=min(stage.micro_batches, images))
            notes.append(f"the recipe's batch of {stage.batch} gives way to all {images} training images")
    return replace(config, stages=tuple(stages)), tuple(notes)


def settle_objectives(
    config: Training, train: Dataset, given: Collection[str]
) -> tuple[Training, tuple[str, ...]]:  # fmt: skip
    """Return the config with the cross-entropy that goes with the images' labels, and a sentence where that is changed.

    It takes the place of the other one where the user did not give that. Raise `UserError` for an objective that is
    for the other kind of images.
    """
    stages, swapped, link = list(config.stages), False, train.targets.link
    plain: dict[str, Objective] = {"softmax": CrossEntropy(), "sigmoid": BinaryCrossEntropy()}
    whose = "may have several labels" if link == "sigmoid" else "have one label each"
    for i, stage in enumerate(config.stages):
        if stage.objective.link == link:
            continue
        mine = {"objective.kind", "objective", f"stages.{i}.objective.kind", f"stages.{i}.objective", "stages"}
        if mine & set(given) or stage.objective not in plain.values():
            why = f"--objective.kind {stage.objective.kind} is for other images than those of {config.data}"
            raise UserError(f"{why}, which {whose}; give --objective.kind {plain[link].kind}")
        stages[i], swapped = replace(stage, objective=plain[link]), True
    note = f"the images of {config.data} {whose}, so {plain[link].kind} is minimised"
    return replace(config, stages=tuple(stages)), (note,) if swapped else ()


def choice_warnings(config: Training, legs: Sequence[Leg]) -> Iterator[str]:
    """Yield a sentence for each choice that is likely to disappoint: a long warm-up, few images."""
    for leg in legs:
        steps, taken = leg.steps, leg.stage.schedule.warmup_of(leg.steps)
        if 3 * taken > steps:
            yield (
                f"the warm-up takes {taken:,} of {steps:,} steps, which leaves the rate little time to fall; "
                f"--schedule.warmup {steps // 10} takes a tenth"
            )
    images = len(legs[0].loader.dataset)
    if images < FEW_IMAGES and not config.init:
        yield (
            f"{images:,} training images are few for random weights; trained ones are a better beginning: "
            "--init googlenet:bvlc, or another of `imclass weights`, or a model of yours"
        )


def check_data(config: Training, splits: Mapping[str, Dataset]) -> None:
    """Raise `UserError` for data that cannot be trained on as configured."""
    train = splits["train"]
    if len(train) == 0:
        raise UserError(f"{train.origin.path} has no training images")
    if config.validation and len(splits[VALIDATION]) == 0:
        why = f"{train.origin.path} has one training image a class, so there is none to spare for validation"
        raise UserError(f"{why}; leave out --validation, or add images")
    for number, stage in enumerate(config.stages):
        with in_stage(number, stage.name or (stage.model or config.model).network):
            check_stage(stage, config.data, splits)


def check_stage(stage: Stage, data: str, splits: Mapping[str, Dataset]) -> None:
    """Raise `UserError` for data that a stage cannot be trained on."""
    images = len(splits["train"])
    if stage.batch > images:
        raise UserError(f"--batch {stage.batch} is more than the {images} training images; set it lower")
    wanting = f"--schedule.kind {stage.schedule.kind}" if stage.schedule.needs_validation else ""
    wanting = wanting or (f"--patience {stage.patience}" if stage.patience else "")
    if wanting and VALIDATION not in splits:
        raise UserError(
            f"{wanting} needs a validation split, and {data} has only "
            f"{', '.join(splits)}; cut one from train with --validation 0.1, or go without"
        )


def plugins_of(config: Training, context: Context) -> dict[str, str]:
    """Return the SHA-256 of each plugin file that defines what the run uses, by entry, such as "network tiny"."""
    kinds = kind_tables(context)
    chosen = [(kinds[Optimiser], stage.optimiser.kind) for stage in config.stages]
    chosen += [(kinds[Schedule], stage.schedule.kind) for stage in config.stages]
    chosen += [(kinds[Objective], stage.objective.kind) for stage in config.stages]
    chosen += [(kinds[Augment], rule.kind) for stage in config.stages for rule in stage.augment]
    chosen += [(networks(context), model.network) for model in models_of(config)]
    chosen += [(dataset_table(context), config.data)]
    return {entry: digest for table, name in chosen for entry, digest in table.plugin_digests(name).items()}


def models_of(config: Training) -> list[Model]:
    """Return the models of a config and of its stages."""
    return [config.model, *(stage.model for stage in config.stages if stage.model)]
