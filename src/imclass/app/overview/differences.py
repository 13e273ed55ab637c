"""The settings in which runs differ, and those that all of them share."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from imclass.app.report.background import format_value, option_name
from imclass.app.report.facts import recipe_values
from imclass.core.override import NONE_WORD
from imclass.store.context import Context

Settings: TypeAlias = Mapping[str, Any]  # a configuration by dotted key

RECIPE = "recipe"
DIGEST_LENGTH = 12
# Keys of digests, with the keys that explain them: if runs differ in these, their digests differ as well.
EXPLAINED_BY = {"init_digest": ("init",), "data.digest": ("data", "split", "split_seed", "validation", "classes")}


def differing_keys(each: Sequence[Settings], context: Context) -> list[list[str]]:
    """Return, for each run, the keys to list: those whose values differ between runs, in the order of the config.

    If the runs have different recipes, a key is left out for a run that has its recipe's value, as all runs with this
    recipe do, because the name of the recipe says as much.
    """
    keys = list(dict.fromkeys(key for settings in each for key in settings))
    keys = [key for key in keys if differs(each, key) and not is_explained(each, key)]
    if not differs(each, RECIPE):
        return [keys for _ in each]
    groups = {recipe: [one for one in each if one[RECIPE] == recipe] for recipe in {one[RECIPE] for one in each}}
    implied = {recipe: implied_keys(recipe, group, keys, context) for recipe, group in groups.items()}
    return [[key for key in keys if key not in implied[settings[RECIPE]]] for settings in each]


def implied_keys(recipe: str, group: Sequence[Settings], keys: Sequence[str], context: Context) -> set[str]:
    """Return those keys for which all runs of a group have the value of their recipe."""
    known = recipe_values(recipe, context)
    return {key for key in keys if key != RECIPE and known is not None and not differs([known, *group], key)}


def differs(each: Sequence[Settings], key: str) -> bool:
    """Return whether runs have different values of a key. A key that a run lacks has the value None."""
    return len({value_text(settings.get(key)) for settings in each}) > 1


def is_explained(each: Sequence[Settings], key: str) -> bool:
    """Return whether other keys explain the values of a digest: wherever those are equal, so is the digest."""
    if key not in EXPLAINED_BY:
        return False
    groups: dict[str, list[Settings]] = {}
    for settings in each:
        about = {k: v for k, v in settings.items() if k != key and is_below(k, EXPLAINED_BY[key])}
        groups.setdefault(value_text(about), []).append(settings)
    return not any(differs(group, key) for group in groups.values())


def is_below(key: str, names: Sequence[str]) -> bool:
    """Return whether a dotted key is one of the names, or the key of a field below it."""
    return key in names or key.startswith(tuple(f"{name}." for name in names))


def shared_settings(each: Sequence[Settings]) -> dict[str, Any]:
    """Return the settings that all runs share and that have a value."""
    first = each[0] if each else {}
    return {key: value for key, value in first.items() if value not in (None, "") and not differs(each, key)}


def value_text(value: Any) -> str:
    """Return a text that is equal for equal values."""
    return json.dumps(value, sort_keys=True)


def option_names(each: Sequence[Settings]) -> dict[str, str]:
    """Return the option that sets each key, in the order of the configuration.

    The number of a stage is left out if no run has a second stage.
    """
    keys = dict.fromkeys(key for settings in each for key in settings)
    stages = 2 if any(key.startswith("stages.1.") for key in keys) else 1
    return {key: option_name(key, stages) for key in keys}


def setting_text(key: str, value: Any) -> str:
    """Return the value of a setting as its option takes it. A value that is absent or empty is "-"."""
    if value is None or value == "":
        return "-"
    if isinstance(value, list):
        return " ".join(map(str, value)) or NONE_WORD
    return str(value)[:DIGEST_LENGTH] if key in EXPLAINED_BY else format_value(value)
