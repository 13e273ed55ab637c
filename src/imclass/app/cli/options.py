"""Every field of a recipe's config as an option of `imclass train`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imclass.app.cli.arguments import CommonArguments, TrainArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.words import option_error, option_hints, parse
from imclass.core.codec import hints_of
from imclass.core.config import Execution, Training
from imclass.core.errors import UnknownKey, UserError
from imclass.core.override import override
from imclass.store.context import Context, find_in


@dataclass(frozen=True)
class TrainRequest:
    """What `imclass train` was asked to do."""

    training: Training
    execution: Execution
    arguments: TrainArguments
    context: Context
    given: tuple[str, ...]  # the keys of the config that were set

    @property
    def common(self) -> CommonArguments:
        """The options that every verb has."""
        return self.arguments.common


def read_train(words: Sequence[str]) -> TrainRequest:
    """Return `RECIPE [options]` as a config and the verb's own arguments."""
    arguments, choices = parse(TrainArguments, words, "imclass train")
    context = context_of(arguments.common)
    training, execution = base_configs(arguments, context)
    from imclass.app.runs.configure import override_config  # it imports torch, which --help can do without

    carried = {key: choices.pop(key) for key in hints_of(Execution) if key in choices}
    try:
        training, execution = override_config(training, choices, context), override(execution, carried)
    except UnknownKey as error:
        raise option_error(error.key, [*error.known, *option_hints(TrainArguments), *hints_of(Execution)]) from None
    return TrainRequest(training, execution, arguments, context, tuple(choices))


def base_configs(arguments: TrainArguments, context: Context) -> tuple[Training, Execution]:
    """Return the choices before any option: of the named recipe, or of a file."""
    if arguments.config is not None:
        from imclass.app.runs.directory import read_config
        from imclass.training.kinds import kind_tables

        training, execution = read_config(arguments.config, kind_tables(context))
        if arguments.recipe not in (None, training.recipe):
            why = f"--config {arguments.config} is of the recipe {training.recipe!r}, not {arguments.recipe!r}"
            raise UserError(f"{why}; name that one, or leave --config out")
        return training, execution
    if arguments.recipe is None:
        raise UserError("name the recipe first: imclass train RECIPE [options]; `imclass recipes` lists them")
    recipes = find_in(context, "imclass.recipes", "RECIPES", "recipe")
    if arguments.recipe not in recipes.entries and Path(arguments.recipe).is_dir():
        raise UserError(
            f"{arguments.recipe} is a folder and not a recipe; write imclass train folder --data {arguments.recipe}"
        )
    made = recipes[arguments.recipe]()
    if not isinstance(made, Training):
        raise UserError(f"the recipe {arguments.recipe!r} returns {type(made).__name__} and not a Training; change it")
    return made, Execution()
