"""The arguments of `imclass train`: every field of a recipe's config is an option."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.cli.arguments import CommonArguments, TrainArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.words import option_error, option_hints, parse
from imclass.app.settings.elsewhere import check_fields
from imclass.app.settings.make import make_config
from imclass.core.codec import hints_of
from imclass.core.config import Execution, Fitting, RunConfig, Stage, Training
from imclass.core.errors import UnknownKey, UserError
from imclass.core.override import override
from imclass.core.tables import EntryTable
from imclass.store.context import Context, find_in


@dataclass(frozen=True)
class TrainRequest:
    """The parsed arguments of `imclass train`."""

    config: RunConfig
    execution: Execution
    arguments: TrainArguments
    context: Context
    given: tuple[str, ...]  # config keys that the user has set

    @property
    def common(self) -> CommonArguments:
        """The arguments common to all verbs."""
        return self.arguments.common


def read_train(words: Sequence[str], context: Context | None = None) -> TrainRequest:
    """Parse the words that follow `imclass train`. By default, the context is that of the options."""
    arguments, choices = parse(TrainArguments, words, "imclass train")
    context = context or context_of(arguments.common)
    if arguments.recipe is None and arguments.config is None:
        check_fields(key for key in choices if key in ("recipe", "resume"))  # clearer than "RECIPE is missing"
    given = tuple(choices)
    config, execution = base_configs(arguments, context, choices)
    from imclass.app.settings.configure import override_config  # here, because it imports torch

    changes = {key: choices.pop(key) for key in hints_of(Execution) if key in choices}
    try:
        config = override_config(config, choices, context, arguments.dry_run)
        execution = override(execution, changes)
    except UnknownKey as error:
        raise option_error(error.key, [*error.known, *option_hints(TrainArguments), *hints_of(Execution)]) from None
    return TrainRequest(config, execution, arguments, context, given)


def base_configs(arguments: TrainArguments, context: Context, choices: dict[str, Any]) -> tuple[RunConfig, Execution]:
    """Return the configs to which the options are applied. They come from --config or, without it, from the recipe.

    Options that are parameters of the recipe's function but not fields of a config are passed to the function and
    removed from `choices`.
    """
    if arguments.config is not None:
        from imclass.app.settings.record import read_config
        from imclass.training.kinds import kind_tables

        config, execution = read_config(arguments.config, kind_tables(context))
        if arguments.recipe not in (None, config.recipe):
            why = f"--config {arguments.config} belongs to the recipe {config.recipe!r}, not {arguments.recipe!r}"
            raise UserError(f"{why}; leave out either RECIPE or --config")
        return config, execution
    if arguments.recipe is None:
        raise UserError("RECIPE is missing; run imclass train RECIPE [options]. `imclass recipes` lists the recipes")
    recipes = recipe_functions(context)
    if arguments.recipe not in recipes.entries and Path(arguments.recipe).is_dir():
        raise UserError(
            f"{arguments.recipe} is a folder, not a recipe; run imclass train folder --data {arguments.recipe}"
        )
    return make_config(recipes[arguments.recipe], arguments.recipe, choices, config_fields()), Execution()


def config_fields() -> set[str]:
    """Return the names of the fields of a config and of its stages. They are options of every recipe."""
    return {*hints_of(Training), *hints_of(Stage), *hints_of(Fitting)}


def recipe_functions(context: Context) -> EntryTable:
    """Return the table of the functions that make the recipes' configs."""
    return find_in(context, "imclass.recipes", "RECIPES", "recipe")
