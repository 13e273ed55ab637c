"""The splits of a run's data: what it learns from, what it is judged by, and what its model file says of them."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from imclass.core.codec import to_json
from imclass.core.config import Training
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.data.catalog import open_split, passed_over, spelled
from imclass.data.readable import check_learnable, check_scorable
from imclass.data.subset import VALIDATION
from imclass.store.context import Context


@dataclass(frozen=True)
class Splits:
    """The training images, the splits held out of them, and what a user should know of both."""

    train: Dataset
    held_out: tuple[Dataset, ...]
    notes: tuple[str, ...]

    def facts(self, config: Training) -> dict[str, Any]:
        """Return what a model file keeps of its data, enough to cut it again."""
        return {
            **to_json(self.train.origin),
            "digest": self.train.digest(),
            "splits": list(self.train.splits),
            "split": to_json(config.split),
            "split_seed": config.split_seed,
            "validation": config.validation,
        }


def open_splits(config: Training, given: Collection[str], context: Context) -> tuple[Training, Splits]:
    """Return the splits of a config's data, and the config with the data's one spelling and the share it can have.

    Data with a validation and a test split keeps them: a share for validation is a `UserError` where the user gave it,
    and gives way where a recipe did. So is data that cannot be trained on as configured.
    """
    config, notes = settle_validation(config, given, context)
    train = open_split(config.data, "train", context, config.cut)
    held_out = tuple(open_split(config.data, name, context, config.cut) for name in train.splits if name != "train")
    splits = Splits(train, held_out, (*passed_over(config.data, context), *train.origin.notes, *notes))
    check_learnable(train)
    check_data(config, splits)
    check_scorable(held_out)
    return replace(config, data=spelled(config.data, context)), splits


def settle_validation(config: Training, given: Collection[str], context: Context) -> tuple[Training, tuple[str, ...]]:
    """Return the config with a share for validation that its data can have, and a sentence on what that changes."""
    if not config.validation:
        return config, ()
    present = open_split(config.data, "train", context, replace(config.cut, validation=0.0)).splits
    if VALIDATION not in present:
        return config, ()
    if "test" not in present:
        which = f"{config.data} has a validation split and no test split"
        share = f"{100 * config.validation:g} % of train"
        return config, (f"{which}: it is what is reported, as test, and {share} choose the weights",)
    if "validation" in given:
        why = f"{config.data} has a validation split and a test split of its own"
        raise UserError(f"{why}, so --validation {config.validation:g} has nothing to cut; leave it out")
    share = f"the recipe's share of {100 * config.validation:g} % of train gives way"
    return replace(config, validation=0.0), (f"{config.data} has a validation split of its own: {share}",)


def check_data(config: Training, splits: Splits) -> None:
    """Raise `UserError` for data that cannot be trained on as configured."""
    train = splits.train
    if len(train) == 0:
        raise UserError(f"{train.origin.path} has no training images")
    if config.validation and any(part.split == VALIDATION and len(part) == 0 for part in splits.held_out):
        why = f"{train.origin.path} has one training image a class, so there is none to spare for validation"
        raise UserError(f"{why}; leave out --validation, or add images")
    for stage in config.stages:
        if stage.batch > len(train):
            raise UserError(f"--batch {stage.batch} is more than the {len(train)} training images; set it lower")
        if stage.schedule.needs_validation and VALIDATION not in train.splits:
            raise UserError(
                f"--schedule.kind {stage.schedule.kind} needs a validation split, and {config.data} has only "
                f"{', '.join(train.splits)}; cut one from train with --validation 0.1, or take another schedule"
            )
