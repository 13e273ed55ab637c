"""Numbers of epochs of stages whose length is set in minutes. They are resolved once, before the first leg begins."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from imclass.app.runs.pace import ScoreImages, measure_pace
from imclass.core.config import Training
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.runtime import Runtime
from imclass.core.text import duration_text
from imclass.training.plan import Leg


def check_length(config: Training, given: Collection[str]) -> None:
    """Raise `UserError` if a stage has `minutes`, and the user has set its `epochs` as well."""
    for number, stage in enumerate(config.stages):
        if stage.minutes and {"epochs", f"stages.{number}.epochs"} & set(given):
            option = "--epochs" if "epochs" in given else f"--stages.{number}.epochs"
            problem = f"{option} and minutes {stage.minutes:g} both set the length of stage {number}"
            raise UserError(f"{problem}; leave out {option}, or add {option.replace('epochs', 'minutes')} 0")


def resolve_epochs(
    legs: Sequence[Leg], used: Runtime, held_out: Mapping[str, Dataset], score: ScoreImages
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Measure the stages that have `minutes`. Return their numbers of epochs by config key, and a note for each."""
    resolved, notes = dict[str, int](), []
    for leg in legs:
        minutes = leg.stage.minutes
        if not minutes:
            continue
        pace = measure_pace(leg, used, [held_out[split] for split in leg.watched_splits], score)
        epoch = pace.epoch(leg)
        epochs = epochs_within(60 * minutes - pace.opening, epoch)
        resolved[epochs_key(leg)] = epochs
        steps = f"{leg.batches:,} steps of {duration_text(pace.step)}, {duration_text(pace.scoring)} of scoring"
        note = f"stage {leg.name}: {epochs:,} {'epoch' if epochs == 1 else 'epochs'} of about {duration_text(epoch)}"
        if epoch + pace.opening > 60 * minutes:
            note += f", which is longer than --minutes {minutes:g}"
        else:
            note += f" fit into {minutes:g} minutes"
        notes.append(f"{note} ({steps})")
    return resolved, tuple(notes)


def epochs_within(seconds: float, epoch: float) -> int:
    """Return how many epochs that take `epoch` seconds each fit into `seconds`, but at least 1."""
    return max(1, int(seconds / epoch))


def epochs_key(leg: Leg) -> str:
    """Return the config key of a leg's number of epochs."""
    return f"stages.{leg.number}.epochs"


def with_epochs(legs: Sequence[Leg], resolved: Mapping[str, int]) -> tuple[Leg, ...]:
    """Return the legs with the resolved numbers of epochs. The provenance of each model contains them, too."""
    epochs = [resolved.get(epochs_key(leg), leg.stage.epochs) for leg in legs]
    stages = [stage | {"epochs": count} for stage, count in zip(legs[0].trained.recipe["stages"], epochs, strict=True)]
    recipe = legs[0].trained.recipe | {"stages": stages}
    return tuple(
        replace(
            leg,
            stage=replace(leg.stage, epochs=epochs[i]),
            last_epoch=sum(epochs[: i + 1]),
            trained=replace(leg.trained, recipe=recipe),
        )
        for i, leg in enumerate(legs)
    )
