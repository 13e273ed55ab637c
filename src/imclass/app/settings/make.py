"""The config that a recipe's function returns for the user's choices of its parameters."""
# Tested in tests/app/cli/test_options.py

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_type_hints

from imclass.core.codec import from_json
from imclass.core.config import Fitting, RunConfig, Training
from imclass.core.errors import UserError
from imclass.core.override import convert_value, option_of


def make_config(
    make: Callable[..., Any], recipe: str, choices: dict[str, Any], fields: Collection[str] = ()
) -> RunConfig:
    """Return the config that a recipe's function makes. The parameters of the function are removed from `choices`.

    Choices in `fields` are not passed to the function. `init` is not removed, because it also changes the
    config, which adopts the model that `init` names.
    """
    values = parameters_in(make, {name: choice for name, choice in choices.items() if name not in fields})
    for name in values:
        if name != "init":
            del choices[name]
    config = make(**values)
    if not isinstance(config, Training | Fitting):
        kind = type(config).__name__
        raise UserError(f"the recipe {recipe!r} must return a Training or a Fitting, not {kind}; fix the recipe")
    return config


def parameters_in(make: Callable[..., Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices that are parameters of a recipe's function, converted to the types of these parameters."""
    hints, found = get_type_hints(make), {}
    for name in inspect.signature(make).parameters:
        if name in choices:
            hint = hints.get(name, Any)
            value = convert_value(str if hint is Any else hint, choices[name], name)
            found[name] = from_json(hint, value, option_of(name))
    return found
