"""Checks of types at run time. They are jaxtyping's where an annotation holds an array, and beartype's elsewhere.

For each call jaxtyping binds the arguments by name and checks them twice, so that axes with the same name can be
compared. Without arrays there is nothing to compare, and beartype alone makes the same checks several times as fast.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from inspect import isclass, isfunction
from typing import Any, ForwardRef, Literal, get_args, get_origin

import beartype
import jaxtyping

check_with_axes = jaxtyping.jaxtyped
check_alone = beartype.beartype(conf=beartype.BeartypeConf(violation_type=jaxtyping.TypeCheckError))


def check_types(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a decorator for functions and classes, which takes the place of `jaxtyping.jaxtyped`."""

    def decorate(target: Any) -> Any:
        if isfunction(target) and not has_axes(target):
            return check_alone(target)
        if isclass(target) and is_dataclass(target) and "__init__" in vars(target) and not has_axes(target.__init__):
            target.__init__ = check_alone(target.__init__)  # type: ignore[method-assign]
            return target
        return check_with_axes(typechecker=typechecker)(target)

    return decorate


def has_axes(function: Callable[..., Any]) -> bool:
    """Return whether a parameter or the returned value of a function may be an array with named axes."""
    return any(map(names_axes, function.__annotations__.values()))


def names_axes(annotation: Any) -> bool:
    """Return whether an annotation has an array type in it, or a type in quotes, which may be one."""
    if isinstance(annotation, str | ForwardRef):
        return True
    if isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    if get_origin(annotation) is Literal:
        return False
    inner = annotation if isinstance(annotation, list) else get_args(annotation)  # a list has parameters of a Callable
    return any(map(names_axes, inner))


def install_checks(package: str) -> None:
    """Check all calls of the functions of a package in modules that are imported after this call."""
    jaxtyping.jaxtyped = check_types  # type: ignore[assignment]  # found by this name in the code that the hook compiles
    jaxtyping.install_import_hook(package, "beartype.beartype")
