"""Configuration of a run: a recipe's config, adapted to the model given by `init` and to the user's choices."""
# Tested in tests/app/cli/test_options.py

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imclass.app.load import normal_spelling
from imclass.app.runs.beginning import adopt
from imclass.app.settings.elsewhere import check_fields
from imclass.app.settings.make import make_config
from imclass.core.codec import from_json, hints_of, to_json
from imclass.core.config import Fitting, Model, RunConfig, Training
from imclass.core.errors import UnknownKey, UserError
from imclass.core.override import Words, convert_value, option_of, override
from imclass.core.tables import EntryTable
from imclass.core.text import suggestion
from imclass.models.classifier import networks
from imclass.store.context import Context, find_in, open_context
from imclass.training.kinds import kind_tables

STAGE_KEY = re.compile(r"stages\.(\d+)\.(model|preprocess)\.")  # keys within a stage's `model` or `preprocess`


def recipes(context: Context | None = None) -> EntryTable:
    """Return the table of all recipes."""
    return find_in(context, "imclass.recipes", "RECIPES", "recipe")


def configure(recipe: str | RunConfig, context: Context | None = None, **choices: Any) -> Any:
    """Return a recipe's config with the given choices: parameters of the recipe's function, or dotted keys."""
    if not isinstance(recipe, str):
        return override_config(recipe, choices, context)
    config = make_config(recipes(context)[recipe], recipe, choices)
    return override_config(config, choices, context)


def override_config(
    config: RunConfig, changes: Mapping[str, Any], context: Context | None = None, dry: bool = False
) -> RunConfig:
    """Return a config with new values at dotted keys."""
    if isinstance(config, Training):
        return override_training(config, changes, context, dry)
    fields = hints_of(Fitting)
    check_fields(key for key, value in changes.items() if key not in fields or isinstance(value, Words))
    changes = dict(changes)
    init = convert_value(str, changes.get("init", config.init), "init")
    if isinstance(init, str):
        changes["init"] = normal_spelling(init)
        digest = "" if changes["init"] != config.init else config.init_digest
        config = replace(config, init_digest=digest)
    return override(config, changes, kind_tables(context))


def override_training(
    training: Training, changes: Mapping[str, Any], context: Context | None = None, dry: bool = False
) -> Training:
    """Return the config of a network's training with new values at dotted keys.

    A field of the network's row has a key such as "model.dropout". If the network is changed, the row is taken from the
    table of networks. If `init` names a model, the config first adopts that model's network and preprocessing, and is
    then changed. If a stage uses the `model` or `preprocess` of the whole run, a change to a field for this stage gives
    the stage its own copy. If `dry` is true, nothing is downloaded. Without the number of a stage, such a change
    applies to all stages.
    """
    fields, kinds = hints_of(Training), kind_tables(context)
    check_fields(key for key, value in changes.items() if key not in fields or isinstance(value, Words))
    changes = dict(changes)
    if "init" not in changes and not training.init_digest and convert_value(bool, changes.get("grow"), "grow"):
        raise UserError("--grow needs a model to grow; specify it with --init MODEL, or leave out --grow")
    init = convert_value(str, changes.get("init", training.init), "init")
    if isinstance(init, str):  # other values are rejected below, like invalid values for other fields
        changes |= {"init": normal_spelling(init)} if "init" in changes else {}
        if normal_spelling(init) != training.init:
            training = replace(training, init=normal_spelling(init), init_digest="")
        training = adopt(training, context or open_context(), dry)
    changes = spread_to_stages(training, changes)
    of_stages = {key: changes.pop(key) for key in [*changes] if STAGE_KEY.match(key)}
    model, changes = resolve_row_changes(training.model, "model", changes, context)
    return override_stages(override(replace(training, model=model), changes, kinds), of_stages, context)


def spread_to_stages(training: Training, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes, with those to `model` and `preprocess` repeated for each stage that has its own.

    The network is not repeated, because stages may have different ones. A change to a single stage is not replaced.
    """
    spread = dict(changes)
    for key, value in changes.items():
        field, _, name = key.partition(".")
        if field in ("model", "preprocess") and name not in ("", "network"):
            owners = [i for i, stage in enumerate(training.stages) if getattr(stage, field) is not None]
            spread |= {stage_key: value for i in owners if (stage_key := f"stages.{i}.{key}") not in changes}
    return spread


def override_stages(training: Training, changes: dict[str, Any], context: Context | None) -> Training:
    """Return a config with new values in the `model` and `preprocess` of its stages."""
    stages = list(training.stages)
    places = {(int(match[1]), match[2]) for match in map(STAGE_KEY.match, changes) if match}
    for i, field in sorted(place for place in places if place[0] < len(stages)):  # `override` rejects unknown stages
        value = getattr(stages[i], field) or getattr(training, field)
        if field == "model":
            value, changes = resolve_row_changes(value, f"stages.{i}.model", changes, context)
        stages[i] = replace(stages[i], **{field: value})
    return override(replace(training, stages=tuple(stages)), changes, kind_tables(context))


def resolve_row_changes(
    model: Model, prefix: str, changes: Mapping[str, Any], context: Context | None
) -> tuple[Model, dict[str, Any]]:
    """Return the model with the chosen network, and the changes with "row." inserted in the keys of the network's row.

    `prefix` is the model's dotted key. If the network is changed, the values of the old network's row are dropped.
    """
    changed, common = dict(changes), hints_of(Model)
    network = str(convert_value(str, changed.get(f"{prefix}.network", model.network), f"{prefix}.network"))
    if network != model.network:
        model = replace(model, network=network, row={})
    for key in [key for key in changed if key.startswith(f"{prefix}.")]:
        name = key.removeprefix(f"{prefix}.")
        if name.split(".")[0] in common:
            continue
        hints = hints_of(type(networks(context)[network].row))
        if name not in hints:
            known = [*hints, *common]
            message = f"{network} has no field {name!r}{suggestion(name, known)}"
            raise UnknownKey(message, key, [f"{prefix}.{field}" for field in known])
        value = to_json(convert_value(hints[name], changed.pop(key), key))
        changed[f"{prefix}.row.{name}"] = from_json(hints[name], value, option_of(key))
    return model, changed
