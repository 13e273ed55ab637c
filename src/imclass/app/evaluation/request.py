"""Conversion of the user's arguments (paths or classifiers, protocol names, options) into an evaluation request."""
# Tested in tests/app/evaluation/test_request.py

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from imclass.app.load import engine_setup, read_packed
from imclass.core.contracts import Classifier, Dataset
from imclass.core.errors import UserError
from imclass.core.runtime import Arithmetic, device_of
from imclass.evaluation.request import Progress, Request, select_protocols
from imclass.evaluation.results import is_scores_file, read_row
from imclass.store.context import Context

BOTH_ADVICE = "imclass evaluate A B --weights none shows the average precision of both"
# Uses of a result that need one label per image. Each has a name and advice for the error message.
SINGLE_LABEL_USES: Mapping[str, tuple[str, str]] = {
    **{use: (f"--{use}", "leave it out") for use in ("changed", "plot", "reliability", "table", "mistakes")},
    "temperature": ("--temperature", "leave it out"),
    "compare": ("a comparison", BOTH_ADVICE),
}
Evaluable: TypeAlias = str | Path | Classifier  # a MODEL, a file of saved scores, or a classifier in memory


def open_request(
    models: Any,
    data: Any,
    protocol: Any,
    scales: Any,
    context: Context,
    progress: Progress,
    uses: Sequence[str] = (),
    **options: Any,
) -> Request:
    """Return a request with its models and saved scores loaded. Raise `UserError` if arguments conflict.

    `models` is one or more `Evaluable`s, `uses` lists what the result will be used for, and `options` are other fields
    of a `Request`. Everything that can be checked without a model is checked before any model is loaded.
    """
    given = models_by_name(models)
    if not isinstance(data, str | Path | Dataset | None):
        kind = type(data).__name__
        known = "a data set's name, a folder, a CSV file, a list (.txt) or a Dataset"
        raise UserError(f"the data has the type {kind}; pass {known}")
    uses = (*uses, "temperature") if options.get("temperature") else uses
    saved = [model for model in given.values() if isinstance(model, Path) and is_scores_file(model)]
    request = Request(
        models={},
        saved=tuple(read_row(path) for path in saved),
        order=tuple(given),
        protocols=select_protocols(protocol, scales, context),
        single_label_uses=dict(SINGLE_LABEL_USES[use] for use in uses if use in SINGLE_LABEL_USES),
        data=data if data is None or isinstance(data, Dataset) else str(data),
        **options,
    )
    request.check()
    if "save_model" in uses:
        request.check_savable()
    if request.precision != "fp32" and not all(isinstance(model, Path) for model in given.values()):
        problem = f"precision {request.precision} needs a model that is loaded from a file"
        raise UserError(f"{problem}; pass the model's path instead of a classifier")
    request = replace(request, device=device_of(request.device))
    setup = engine_setup(Arithmetic(request.precision, "nhwc"), request.device)
    ready, files = dict[str, Classifier](), dict[str, Path]()
    for name, model in given.items():
        if not isinstance(model, Path):
            ready[name] = model
        elif model not in saved:
            packed = read_packed(model, context)
            for note in packed.notes:
                progress.note(note)
            ready[name], files[name] = packed.unpack(context, setup), packed.file
    return replace(request, models=ready, files=files)


def models_by_name(models: Any) -> Mapping[str, Path | Classifier]:
    """Return the models, keyed by name: a path or, for a classifier in memory, the name of its network or type.

    A number is added to a classifier's name if the name is already taken. Raise `UserError` if there are no models, if
    a model is given twice, or if an item is not a model.
    """
    items = [models] if isinstance(models, str | Path | Classifier) else list(models)
    if not items:
        raise UserError("specify a MODEL: a run's folder, a model file, NETWORK:WEIGHTS, or a file of saved scores")
    found: dict[str, Path | Classifier] = {}
    for model in items:
        if isinstance(model, str | Path):
            path = Path(model).expanduser()
            if str(path) in found:
                raise UserError(f"{path} is given twice; specify each model once")
            found[str(path)] = path
        elif isinstance(model, Classifier):
            if any(other is model for other in found.values()):
                raise UserError("a model is given twice; specify each model once")
            name = str(getattr(model, "name", type(model).__name__.lower()))
            number = sum(1 for other in found if other.partition(" ")[0] == name)
            found[f"{name} {number + 1}" if number else name] = model
        else:
            raise UserError(f"{model!r} is not a model; pass a path, NETWORK:WEIGHTS, or a classifier")
    return found
