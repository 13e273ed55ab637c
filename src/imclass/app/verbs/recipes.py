"""The verb `recipes`: what can be trained by one command."""

import inspect

from imclass.app.cli.answer import Listing, listed
from imclass.app.cli.arguments import Recipes
from imclass.app.cli.checks import context_of
from imclass.app.runs.train import recipes as all_recipes
from imclass.core.codec import to_json
from imclass.core.tables import Found
from imclass.store.context import Context


def recipes(context: Context) -> Listing:
    """The recipes: name, network, data set, epochs, and the first line of their docstring."""
    found: Found = all_recipes(context)
    made, failures = {}, list(found.failures)
    for name, make in found.entries.items():
        try:
            made[name] = make()
        except Exception as error:  # a stranger's function; the others must be listed
            failures.append(f"recipe {name}: {type(error).__name__}: {error}")
    rows = [
        {
            "name": name,
            "network": config.model.network,
            "data": config.data,
            "epochs": sum(stage.epochs for stage in config.stages),
            "summary": (inspect.getdoc(found.entries[name]) or "").split("\n")[0],
        }
        for name, config in made.items()
    ]
    return Listing(
        rows,
        lambda name: {"about": inspect.getdoc(found.entries[name]), "config": to_json(made[name])},
        tuple(failures),
    )


def run(own: Recipes) -> int:
    """List recipes."""
    return listed(recipes(context_of(own.common)), own.name, "recipe", own.common)
