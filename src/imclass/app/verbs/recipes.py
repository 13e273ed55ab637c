"""The verb `recipes`: list the recipes, or describe one recipe and its config."""

import inspect
from collections.abc import Callable
from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import RecipesArguments
from imclass.app.cli.lists import Listing, cached_listing, describe_entries, listing_answer
from imclass.core.codec import to_json
from imclass.core.config import Training
from imclass.store.context import Context


def recipe_listing(context: Context) -> Listing:
    """Return a list of the recipes: their names, networks or parts, data sets, numbers of epochs, and summaries."""
    from imclass.app.settings.configure import recipes as all_recipes

    return describe_entries(all_recipes(context), row, detail)


def row(name: str, make: Callable[[], Any]) -> dict[str, Any]:
    """Return a recipe's row in the list."""
    config = make()
    trains = isinstance(config, Training)
    return {
        "network": config.model.network if trains else " + ".join(part.kind for part in config.parts),
        "data": config.data,
        "epochs": sum(stage.epochs for stage in config.stages) if trains else None,
        "summary": (inspect.getdoc(make) or "").split("\n")[0],
    }


def detail(name: str, make: Callable[[], Any]) -> dict[str, Any]:
    """Return a recipe's docstring and config."""
    return {"about": inspect.getdoc(make), "config": to_json(make())}


def run(arguments: RecipesArguments) -> Answer:
    """List the recipes, or describe one."""
    return listing_answer(cached_listing("recipes", arguments.common, recipe_listing), arguments.name, "recipe")
