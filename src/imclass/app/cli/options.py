"""Every field of a recipe's config as an option of `imclass train`."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.cli.arguments import Train
from imclass.app.cli.checks import context_of
from imclass.app.cli.words import filled, option_hints, scan
from imclass.core.codec import flatten, from_json, hints_of, override, to_json
from imclass.core.config import FORMAT, Execution, Stage, Training
from imclass.core.errors import UserError
from imclass.core.text import nearest
from imclass.store.context import Context, find_in
from imclass.training.kinds import kinds_in

# What other tools call an option, and what to do here.
ELSEWHERE = {
    "lr": "--schedule.rate sets the learning rate",
    "learning_rate": "--schedule.rate sets the learning rate",
    "schedule.name": "--schedule.kind names the schedule",
    "optimiser.name": "--optimiser.kind names the optimiser",
    "optimizer": "--optimiser.kind names the optimiser",
    "momentum": "--optimiser.momentum sets it",
    "weight_decay": "--optimiser.weight-decay sets it",
    "batch_size": "--batch sets how many images a step takes",
    "imgsz": "--preprocess.size sets the side of the network's images in pixels",
    "img_size": "--preprocess.size sets the side of the network's images in pixels",
    "resume": "the same command goes on where it was stopped",
    "model": "--model.network names the network",
    "arch": "--model.network names the network",
    "weights": "training begins from fresh weights; imclass evaluate and predict take a model file",
    "pretrained": "training begins from fresh weights; imclass evaluate and predict take NETWORK:WEIGHTS",
    "gpu": "--device cuda trains on the GPU",
}


@dataclass(frozen=True)
class Order:
    """What `imclass train` was asked to do."""

    training: Training
    execution: Execution
    own: Train
    words: tuple[str, ...]
    context: Context


def read_train(words: Sequence[str]) -> Order:
    """Return `RECIPE [options]` as a config and the verb's own arguments; the recipe's name comes first."""
    named = bool(words) and not words[0].startswith("-")
    positions, options = scan(words[1:] if named else words)
    own = filled(Train, positions, {k: options.pop(k) for k in option_hints(Train) if k in options}, "imclass train")
    context = context_of(own.common)
    training, execution = base(words[0] if named else None, own, context)
    from imclass.app.runs.train import overridden  # it imports torch, which --help can do without

    check_known(options, training, context)
    carried = {k: options.pop(k) for k in hints_of(Execution) if k in options}
    training = overridden(training, options, context)
    return Order(training, override(execution, carried), own, tuple(words), context)


def base(name: str | None, own: Train, context: Context) -> tuple[Training, Execution]:
    """Return the choices before any option: of the named recipe, or of a file."""
    if own.config is not None:
        training, execution = config_in(own.config, context)
        if name not in (None, training.recipe):
            why = f"--config {own.config} is of the recipe {training.recipe!r}, not {name!r}"
            raise UserError(f"{why}; name that one, or leave --config out")
        return training, execution
    if name is None:
        raise UserError("name the recipe first: imclass train RECIPE [options]; `imclass recipes` lists them")
    made = find_in(context, "imclass.recipes", "RECIPES", "recipe")[name]()
    if not isinstance(made, Training):
        raise UserError(f"the recipe {name!r} returns {type(made).__name__} and not a Training; change its function")
    return made, Execution()


def config_in(file: Path, context: Context) -> tuple[Training, Execution]:
    """Return the choices of a run, by its directory or its config.json, or alone; a `UserError` names file and key."""
    try:
        record = json.loads((file / "config.json" if file.is_dir() else file).read_bytes())
    except OSError as error:
        raise UserError(
            f"--config {file} cannot be read: {error.strerror}; give a run's directory or its config.json"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"--config {file} cannot be read as JSON: {error}") from None
    if isinstance(record, dict) and record.get("format", FORMAT) != FORMAT:
        raise UserError(f"--config {file} has format {record['format']}, and this imclass reads {FORMAT}; train again")
    apart = isinstance(record, dict) and "training" in record
    try:
        training: Training = from_json(Training, record["training"] if apart else record, "", kinds_in(context))
        execution: Execution = from_json(Execution, record.get("execution", {}) if apart else {})
    except UserError as error:
        raise UserError(f"--config {file}: {error}") from None
    return training, execution


def check_known(options: dict[str, Any], training: Training, context: Context) -> None:
    """Raise `UserError` for an option that no kind and no network of this config has, with the nearest one."""
    from imclass.models.classifier import networks

    network = training.model.network
    if options.get("model.network"):
        network = options["model.network"][0]
    row = [f"model.{name}" for name in hints_of(type(networks(context)[network].row))]
    known = {*option_hints(Train), *option_names(training, Execution(), context), *row}
    for key in options:
        if re.sub(r"^stages\.\d+\.", "", key) in known:
            continue
        option = f"--{key.replace('_', '-')}"
        if key in ELSEWHERE:
            raise UserError(f"there is no option {option}: {ELSEWHERE[key]}")
        close = nearest(option, [f"--{name.replace('_', '-')}" for name in known])
        raise UserError(f"there is no option {option}{close}")


def option_names(training: Training, execution: Execution, context: Context) -> Iterator[str]:
    """Yield the key of every option of a config, those of kinds that it has not chosen included."""
    for key in flatten(to_json(training) | to_json(execution)):
        if key not in ("recipe", "split.kind"):
            yield re.sub(r"^stages\.\d+\.", "", key).replace("model.row.", "model.")
    kinds = kinds_in(context)
    for name, hint in hints_of(Stage).items():
        for entry in kinds[hint].entries.values() if hint in kinds else ():
            yield from (f"{name}.{field}" for field in hints_of(entry))
