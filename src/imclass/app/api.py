"""The public functions: each makes the context it works in, once, and calls the rooms below."""

# Tested in tests/test_public.py

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from imclass.app import load as models
from imclass.app.runs import configure as configurations
from imclass.app.runs import train as runs
from imclass.app.runs.directory import Run
from imclass.app.runs.single import check_single
from imclass.core.config import Execution, Model, Training
from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.override import override as overridden
from imclass.core.preprocess import Preprocess
from imclass.core.targets import Link
from imclass.models import classifier
from imclass.models.classifier import NetworkClassifier
from imclass.store.context import Location, open_context
from imclass.store.store import Store
from imclass.training.events import Consumer, Event


def train(
    recipe: str | Training,
    out: str | Path | None = None,
    store: Location | Store | None = None,
    plugins: Location | Sequence[Location] = (),
    consumers: Sequence[Consumer] = (),
    override: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Iterator[Event]:
    """Train; yield what happens. The same call goes on where it was stopped, and a finished run yields nothing.

    A choice is a field of `Execution`, or one that `configure` takes. Mistakes are `UserError`s, raised here and not
    while iterating. Ctrl-C, SIGTERM and SIGHUP save, then raise `Interrupted`.
    """
    check_single()
    check_consumers(consumers)
    context = open_context(store, plugins)
    choices = written(choices | dict(override or {}))
    carried = {f.name: choices.pop(f.name) for f in fields(Execution) if f.name in choices}
    execution = overridden(Execution(), carried)
    config = configurations.configure(recipe, context, **choices)
    run = Run(Path(os.path.expanduser(out) if out is not None else f"runs/{config.recipe}").absolute())
    return runs.perform(runs.prepare(config, run, context, execution, given=choices), consumers)


def configure(
    recipe: str | Training,
    plugins: Location | Sequence[Location] = (),
    override: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Training:
    """Return the config of a recipe with choices; each is a parameter of its function, or named as on the command line.

    `configure("mnist-lenet", epochs=3, override={"schedule.rate": 0.1})`; keywords may be dotted as well. A field of a
    stage is set in every stage. A mistake is a `UserError` that names the field.
    """
    return configurations.configure(recipe, open_context(plugins=plugins), **written(choices | dict(override or {})))


def create(
    model: str | Model,
    classes: Sequence[str],
    preprocess: Preprocess | None = None,
    seed: int = 0,
    plugins: Location | Sequence[Location] = (),
    link: str = "softmax",
) -> NetworkClassifier:
    """Return a fresh classifier: the network of this name, weights drawn from `seed`, these K class names.

    With the link "sigmoid" an image may have several of the classes.

    `preprocess` must have the network's native size; by default the shorter side is 8/7 of it, in colour or grey as the
    network was published. Raise `UserError` for what does not fit, before anything is allocated.
    """
    check_names(classes)
    return classifier.create(model, classes, preprocess, seed, open_context(plugins=plugins), link_of(link))


def load(
    model: Location,
    plugins: Location | Sequence[Location] = (),
    store: Location | Store | None = None,
    device: str = "cpu",
) -> Classifier:
    """Return the classifier that `model` names: a run, a model file, or NETWORK:WEIGHTS. Raise `UserError` otherwise.

    It is for evaluation: its network computes in float32, channels last, on `device` (auto, cpu, cuda, cuda:N, mps).
    """
    return models.load(os.path.expanduser(model), open_context(store, plugins), device=str(device))


def written(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return choices with paths as text, which is how a config keeps them."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in choices.items()}


def link_of(name: str) -> Link:
    """Return a link by its name. Raise `UserError` for any other."""
    if name == "softmax":
        return "softmax"
    if name == "sigmoid":
        return "sigmoid"
    raise UserError(f"the link is {name!r}; it must be softmax, or sigmoid for several labels an image")


def check_names(classes: Any) -> None:
    """Raise `UserError` for what is not a list of classes: one text, or how many there are."""
    if not isinstance(classes, Sequence) or isinstance(classes, str):
        raise UserError(f"the classes are {classes!r}; give their names as a list, such as ['cat', 'dog']")


def check_consumers(consumers: Sequence[Any]) -> None:
    """Raise `UserError` for one that could not watch, before there is anything to see."""
    for consumer in consumers:
        if not isinstance(consumer, Consumer):
            raise UserError(f"a consumer is {consumer!r}; it must have the methods see(event) and close()")
