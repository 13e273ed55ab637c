"""Every field of a recipe's config as an option of `imclass train`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imclass.app.cli.arguments import Train
from imclass.app.cli.checks import context_of
from imclass.app.cli.words import no_option, option_hints, parse
from imclass.core.codec import hints_of
from imclass.core.config import Execution, Training
from imclass.core.errors import UnknownKey, UserError
from imclass.core.override import override
from imclass.store.context import Context, find_in


@dataclass(frozen=True)
class Order:
    """What `imclass train` was asked to do."""

    training: Training
    execution: Execution
    own: Train
    context: Context
    given: tuple[str, ...]  # the keys of the config that were set


def read_train(words: Sequence[str]) -> Order:
    """Return `RECIPE [options]` as a config and the verb's own arguments."""
    own, choices = parse(Train, words, "imclass train")
    context = context_of(own.common)
    training, execution = base(own, context)
    from imclass.app.runs.configure import overridden  # it imports torch, which --help can do without

    carried = {key: choices.pop(key) for key in hints_of(Execution) if key in choices}
    try:
        training, execution = overridden(training, choices, context), override(execution, carried)
    except UnknownKey as error:
        raise no_option(error.key, [*error.known, *option_hints(Train), *hints_of(Execution)]) from None
    return Order(training, execution, own, context, tuple(choices))


def base(own: Train, context: Context) -> tuple[Training, Execution]:
    """Return the choices before any option: of the named recipe, or of a file."""
    if own.config is not None:
        from imclass.app.runs.directory import read_config
        from imclass.training.kinds import kinds_in

        training, execution = read_config(own.config, kinds_in(context))
        if own.recipe not in (None, training.recipe):
            why = f"--config {own.config} is of the recipe {training.recipe!r}, not {own.recipe!r}"
            raise UserError(f"{why}; name that one, or leave --config out")
        return training, execution
    if own.recipe is None:
        raise UserError("name the recipe first: imclass train RECIPE [options]; `imclass recipes` lists them")
    recipes = find_in(context, "imclass.recipes", "RECIPES", "recipe")
    if own.recipe not in recipes.entries and Path(own.recipe).is_dir():
        raise UserError(f"{own.recipe} is a folder and not a recipe; write imclass train folder --data {own.recipe}")
    made = recipes[own.recipe]()
    if not isinstance(made, Training):
        raise UserError(f"the recipe {own.recipe!r} returns {type(made).__name__} and not a Training; change it")
    return made, Execution()
