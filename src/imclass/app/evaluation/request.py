"""A request to evaluate, from what a user gives: paths or classifiers, names of protocols, options."""
# Tested in tests/app/evaluation/test_request.py

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from imclass.app.load import open_for_evaluation
from imclass.core.contracts import Classifier, Dataset
from imclass.core.errors import UserError
from imclass.core.runtime import Arithmetic, device_of
from imclass.evaluation.request import Progress, Request, select_protocols
from imclass.evaluation.results import is_scores, saved_row
from imclass.store.context import Context

Evaluable: TypeAlias = str | Path | Classifier  # a MODEL, a file of saved scores, or a classifier in memory


def open_request(
    models: Any,
    data: Any,
    protocol: Any,
    scales: Any,
    context: Context,
    progress: Progress,
    **options: Any,
) -> Request:
    """Return a request with its models and saved scores loaded. Raise `UserError` for what cannot be together.

    `models` is an `Evaluable` or several, `options` are the other fields of a `Request`. What needs no model is checked
    before one is loaded.
    """
    given = named(models)
    paths = {name: model for name, model in given.items() if isinstance(model, Path)}
    saved = [path for path in paths.values() if is_scores(path)]
    request = Request(
        models={},
        saved=tuple(saved_row(path) for path in saved),
        order=tuple(given),
        protocols=select_protocols(protocol, scales, context),
        data=data if data is None or isinstance(data, Dataset) else str(data),
        **options,
    )
    request.check()
    classifiers = {name: model for name, model in given.items() if not isinstance(model, Path)}
    if classifiers and request.precision != "fp32":
        raise UserError(f"precision {request.precision} rounds weights as they are loaded; give the model by its path")
    request = replace(request, device=device_of(request.device))
    arithmetic = Arithmetic(request.precision, "nhwc")

    opened = {
        name: open_for_evaluation(path, context, arithmetic, request.device)
        for name, path in paths.items()
        if path not in saved
    }
    for one in opened.values():
        for text in one.notes:
            progress.note(text)
    ready = classifiers | {name: one.classifier for name, one in opened.items()}
    files = {name: one.file for name, one in opened.items()}
    return replace(request, models={name: ready[name] for name in given if name in ready}, files=files)


def named(models: Any) -> Mapping[str, Path | Classifier]:
    """Return models by their names: paths as they are given, classifiers by their network or kind, numbered if equal.

    Raise `UserError` where there is none, where one is given twice, and for what is not a model.
    """
    several = [models] if isinstance(models, str | Path | Classifier) else list(models)
    if not several:
        raise UserError("name a MODEL: a run's directory, a model file, or a file of saved scores")
    found: dict[str, Path | Classifier] = {}
    for model in several:
        if isinstance(model, str | Path):
            path = Path(model).expanduser()
            if str(path) in found:
                raise UserError(f"{path} is named twice; name each model once")
            found[str(path)] = path
        elif isinstance(model, Classifier):
            if any(other is model for other in found.values()):
                raise UserError("a model is given twice; give each once")
            name = str(getattr(model, "name", type(model).__name__.lower()))
            number = sum(1 for other in found if other.partition(" ")[0] == name)
            found[f"{name} {number + 1}" if number else name] = model
        else:
            raise UserError(f"a model is {model!r}; give a path, NETWORK:WEIGHTS, or a classifier")
    return found
