"""The public functions, described in docs/python.md. Each makes its context once, then calls other packages."""

# Tested in tests/test_public.py

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from imclass.app import load as models
from imclass.app.argument_checks import check_consumers, check_names, link_of, paths_as_text, whole_number
from imclass.app.evaluation import result as results
from imclass.app.evaluation.comparison import Contrast, check_comparison
from imclass.app.evaluation.request import Evaluable, open_request
from imclass.app.evaluation.result import Result
from imclass.app.explain.explain import Explained, prepare_explainer
from imclass.app.features import extract as extraction
from imclass.app.features.result import Features
from imclass.app.fits.perform import perform_fit
from imclass.app.fits.prepare import prepare_fit
from imclass.app.overview.result import Overview, compare_runs
from imclass.app.report import write as pages
from imclass.app.runs import train as training_runs
from imclass.app.runs.directory import Run
from imclass.app.runs.single import check_single_process
from imclass.app.series.perform import perform_series
from imclass.app.series.prepare import prepare_series
from imclass.app.settings import configure as configurations
from imclass.app.settings.series import series_of
from imclass.core.config import Execution, Fitting, Model, RunConfig
from imclass.core.contracts import Classifier, Dataset, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.override import override as overridden
from imclass.core.preprocess import Preprocess
from imclass.core.text import list_names
from imclass.evaluation.ensemble import EnsembleMember
from imclass.evaluation.leaks import TrainedPolicy
from imclass.evaluation.request import Progress, SilentProgress, Weighting
from imclass.evaluation.score import view_protocols
from imclass.models import classifier
from imclass.models.classifier import NetworkClassifier
from imclass.serving.inputs import name_images
from imclass.serving.predict import Prediction
from imclass.serving.predict import predict as predictions
from imclass.store.context import Location, open_context
from imclass.store.store import Store
from imclass.training.events import Consumer, Event
from imclass.training.kinds import object_entries, with_objects


def train(
    recipe: str | RunConfig,
    out: str | Path | None = None,
    store: Location | Store | None = None,
    plugins: Location | Sequence[Location] = (),
    consumers: Sequence[Consumer] = (),
    override: Mapping[str, Any] | None = None,
    crossval: int | None = None,
    repeats: int | None = None,
    **choices: Any,
) -> Iterator[Event]:
    """Train with a recipe or a config, and yield an `Event` for everything that happens.

    The run is written to the folder `out`, by default runs/RECIPE. The same call resumes a run that was stopped; a
    finished run yields nothing. With `crossval` = K, the run is a cross-validation: `folds/` contains K runs, and the
    resulting model is the ensemble of their K models. With `repeats` = K, `splits/` contains runs on K random splits of
    the kind "count", and `results.json` their results. A `DivisionEnd` follows the events of each of these runs. Any
    other keyword is a field of `Execution`, or a keyword of `configure`. Each event is passed to the `consumers` before
    it is yielded. A `UserError` for invalid arguments is raised by the call itself, not while iterating. Ctrl-C,
    SIGTERM and SIGHUP save the run, then raise `Interrupted`.
    """
    check_single_process()
    check_consumers(consumers)
    choices = paths_as_text(choices | dict(override or {}))
    context = with_objects(open_context(store, plugins), recipe, choices)
    if objects := object_entries(context):
        problem = f"this run cannot be resumed or have a report: no file in `plugins` defines {list_names(objects)}"
        warnings.warn(f"{problem}; put the class into such a file to make both possible", stacklevel=2)
    carried = {f.name: choices.pop(f.name) for f in fields(Execution) if f.name in choices}
    execution = overridden(Execution(), carried)
    config = configurations.configure(recipe, context, **choices)
    counts = (whole_number(crossval, "crossval"), whole_number(repeats, "repeats"))
    place = Path(os.path.expanduser(out) if out is not None else f"runs/{config.recipe}").absolute()
    run = Run(place, series=series_of(*counts))
    if run.series is not None:
        return perform_series(prepare_series(config, run, context, execution, given=choices), consumers)
    if isinstance(config, Fitting):
        return perform_fit(prepare_fit(config, run, context, execution, given=choices), consumers)
    return training_runs.perform(training_runs.prepare(config, run, context, execution, given=choices), consumers)


def configure(
    recipe: str | RunConfig,
    plugins: Location | Sequence[Location] = (),
    override: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Any:
    """Return a recipe's config with the given values.

    A keyword is a parameter of the recipe's function, or a field as on the command line. Pass dotted keys in
    `override`: `configure("mnist-lenet", epochs=3, override={"schedule.rate": 0.1})`. A field of a stage is set in
    every stage. Raise a `UserError` that names the offending field.
    """
    choices = paths_as_text(choices | dict(override or {}))
    return configurations.configure(recipe, with_objects(open_context(plugins=plugins), recipe, choices), **choices)


def create(
    model: str | Model,
    classes: Sequence[str],
    preprocess: Preprocess | None = None,
    seed: int = 0,
    plugins: Location | Sequence[Location] = (),
    link: str = "softmax",
) -> NetworkClassifier:
    """Return a classifier with random weights: the network with this name, for K named classes.

    `seed` determines the weights. Under the link "sigmoid" an image may have several of the classes. `preprocess` must
    have the network's native size. By default, it resizes the shorter side to 8/7 of that size, and converts images to
    colour or greyscale, whichever the published network uses. Raise `UserError` for incompatible arguments, before
    memory is allocated.
    """
    check_names(classes)
    return classifier.create(model, classes, preprocess, seed, open_context(plugins=plugins), link_of(link))


def load(
    model: Location,
    plugins: Location | Sequence[Location] = (),
    store: Location | Store | None = None,
    device: str = "cpu",
) -> Classifier:
    """Return the classifier in a run or a model file, or with published weights (NETWORK:WEIGHTS).

    The classifier is for evaluation: its network computes in float32, channels last, on `device` (auto, cpu, cuda,
    cuda:N or mps). Raise `UserError` for a model that does not exist, is damaged, or does not fit its network.
    """
    return models.load_classifier(os.path.expanduser(model), open_context(store, plugins), device=str(device))


def predict(
    model: Location | Classifier,
    images: Any,
    *,
    top: int | None = None,
    protocol: str | None = None,
    batch: int = 32,
    workers: int = 0,
    device: str = "cpu",
    store: Location | Store | None = None,
    plugins: Location | Sequence[Location] = (),
    max_megapixels: float | None = None,
) -> Iterator[Prediction]:
    """Yield a `Prediction` with the most probable classes for each image, in order.

    `top` is the number of classes, by default five, or all that reach their thresholds under the link "sigmoid".

    `model` is an argument of `load`, or a classifier that `load` returned; `device` applies only to the former.
    `images` is a path, a folder or a pattern; the bytes of an image file; an H x W x C uint8 array with C = 1 or 3; a
    Pillow image; or an iterable of these or of (name, image) pairs, such as an N x H x W x C uint8 array or a
    generator. Items are read as they are needed. `batch` images are classified at a time, and `workers` threads decode
    them. The `Prediction` for an image that cannot be used states the reason in `refused`. A `UserError` for invalid
    arguments is raised by the call itself, not while iterating.
    """
    context = open_context(store, plugins, max_megapixels)
    known = view_protocols(context)[protocol] if protocol is not None else None
    if isinstance(model, str | Path):
        model = models.load_classifier(os.path.expanduser(model), context, device=str(device))
    if not isinstance(model, Classifier):
        raise UserError(f"the model has type {type(model).__name__}; pass its path, or a classifier returned by load")
    member = EnsembleMember(model, known)
    member.check()
    return predictions(member, name_images(images), top, batch, workers, context.max_pixels)


def features(
    model: Location | Classifier,
    images: Any = None,
    *,
    data: Location | Dataset | None = None,
    split: str | None = None,
    layer: str = "penultimate",
    scales: str | Sequence[int] | None = None,
    mirror: bool = False,
    normalise: bool = False,
    workers: int = 0,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str = "cpu",
    store: Location | Store | None = None,
    plugins: Location | Sequence[Location] = (),
    max_megapixels: float | None = None,
    progress: Progress | None = None,
) -> Features:
    """Return a layer's outputs for images, as `Features` that contain an array with one row per image.

    Pass either `images`, in any form that `predict` accepts, or `data` and `split`, which choose images as in
    `evaluate`. The name "penultimate" stands for the input of the last layer or, in a pipeline, of the last part. For
    this layer of a network, `scales` averages over the whole image at several sizes, each given as the length of the
    shorter side, and `mirror` averages over the image and its mirror image. `normalise` then divides each row by its
    Euclidean length, also in a pipeline. Images that cannot be used are left out and listed in `refused`. Raise
    `UserError` for invalid arguments.
    """
    context, watcher = open_context(store, plugins, max_megapixels), progress or SilentProgress()
    options = extraction.feature_options(layer, scales, mirror, normalise, precision, workers)
    model = os.path.expanduser(model) if isinstance(model, str | Path) else model
    prepared = extraction.prepare_extraction(model, images, data, split, options, str(device), context, watcher)
    return extraction.extract_features(prepared, workers, context.max_pixels, watcher)


def explain(
    model: Location | Classifier,
    images: Any,
    class_: str | None = None,
    *,
    method: str = "map",
    scales: str | Sequence[int] | None = None,
    workers: int = 0,
    device: str = "cpu",
    store: Location | Store | None = None,
    plugins: Location | Sequence[Location] = (),
    max_megapixels: float | None = None,
) -> Iterator[Explained]:
    """Yield an `Explained` for each image, in order: maps that show where the network finds a class.

    `images` is in any form that `predict` accepts. By default, `class_` is the most probable class of each image. There
    is a map for each of the `scales`, the shorter sides to which the image is resized. A `UserError` for invalid
    arguments is raised by the call itself, not while iterating.
    """
    context = open_context(store, plugins, max_megapixels)
    model = os.path.expanduser(model) if isinstance(model, str | Path) else model
    explainer = prepare_explainer(model, class_, method, scales, workers, str(device), context, SilentProgress())
    return explainer.explain(name_images(images), context.max_pixels)


def evaluate(
    models: Evaluable | Sequence[Evaluable],
    data: Location | Dataset | None = None,
    *,
    split: str | None = None,
    trained: TrainedPolicy = "leave-out",
    protocol: str | ViewProtocol | Sequence[str | ViewProtocol] | None = None,
    scales: str | Sequence[int] | None = None,
    weights: Weighting = "mean",
    temperature: bool = False,
    thresholds: Literal["model", "fit"] = "model",
    classes: Mapping[str, str] | None = None,
    batch: int = 256,
    workers: int = 0,
    strict: bool = False,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str = "cpu",
    store: Location | Store | None = None,
    plugins: Location | Sequence[Location] = (),
    max_megapixels: float | None = None,
    uses: Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Score models on the images of a split. Return a row for each model and protocol, then the fused rows.

    A model is a run, a model file, NETWORK:WEIGHTS, a file of saved scores, or a classifier in memory. `data` is a data
    set's name, a folder, a CSV file, a list of images (.txt), or a `Dataset` of N images. By default, the models are
    scored on the held-out part of the data that they were trained on. Images that a model was trained on are left out
    and counted, wherever they are stored, unless `trained` is "include". `protocol` determines which views of an image
    are scored; "center,flip" yields two rows from one pass. `classes` maps the data's class names to the models'.
    `progress` is informed about the progress of the work. `uses` lists the methods of the result that will be called,
    such as "plot": if the images' labels do not allow one of them, `UserError` is raised before any image is scored.
    The result's `evaluation.scores` is an N x K float32 array, and its `evaluation.targets` contains the labels of the
    N images. Raise `UserError` for invalid arguments.
    """
    context, watcher = open_context(store, plugins, max_megapixels), progress or SilentProgress()
    data = os.path.expanduser(data) if isinstance(data, str | Path) else data
    how: dict[str, Any] = {"split": split, "trained": trained, "weights": weights, "temperature": temperature}
    how |= {"thresholds": thresholds, "mapping": classes, "batch": batch, "workers": workers}
    how |= {"strict": strict, "precision": precision, "device": str(device)}
    request = open_request(models, data, protocol, scales, context, watcher, uses, **how)
    return results.score_request(request, context, watcher)


def compare(
    a: Evaluable,
    b: Evaluable,
    data: Location | Dataset | None = None,
    *,
    list: int = 10,
    protocol: str | ViewProtocol | None = None,
    **options: Any,
) -> Contrast:
    """Return a paired test of two models on the images that both have scored: is B better, or could it be chance?

    `list` is the number of images to list among those with different results. The options are those of `evaluate`.
    Raise `UserError` if the models have different classes or no image in common.
    """
    check_comparison(protocol, list)
    return evaluate((a, b), data, protocol=protocol, weights="none", uses=("compare",), **options).compare(list)


def report(
    model: Location,
    data: Location | None = None,
    out: Location | None = None,
    *,
    split: str | None = None,
    trained: TrainedPolicy = "leave-out",
    protocol: str | None = None,
    classes: Mapping[str, str] | None = None,
    batch: int = 256,
    workers: int = 0,
    device: str = "cpu",
    store: Location | Store | None = None,
    plugins: Location | Sequence[Location] = (),
    max_megapixels: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a report on a run or any other model as one self-contained HTML page. Return its path.

    The report on a run is made from its folder alone, and written to RUN/report.html or `out`. Any other model, and a
    run with `data`, `split`, `protocol`, `classes` or `trained="include"`, is evaluated first. That report is written
    to the folder `out`, by default reports/MODEL. Images that the model was trained on are left out and counted, unless
    `trained` is "include".
    """
    if not isinstance(model, str | Path):
        raise UserError("report needs the path of a run or a model file; write a model file with a result's save_model")
    return pages.report(
        os.path.expanduser(model),
        os.path.expanduser(data) if data is not None else None,
        Path(out).expanduser() if out is not None else None,
        open_context(store, plugins, max_megapixels),
        progress or SilentProgress(),
        protocol,
        split=split,
        trained=trained,
        mapping=classes,
        batch=batch,
        workers=workers,
        device=str(device),
    )


def runs(folders: Location | Sequence[Location] = "runs", *, plugins: Location | Sequence[Location] = ()) -> Overview:
    """Return an overview of runs: the state, progress and results of each, and the settings in which they differ.

    `folders` are runs, or folders that contain runs at any depth. Only these folders are read. The `plugins` are those
    with recipes that the runs use. Raise `UserError` if a folder contains no run.
    """
    return compare_runs(folders, open_context(plugins=plugins))
