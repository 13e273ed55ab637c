"""What a report tells of a finished run, gathered from its folder and, while it is there, from the data."""
# Tested in tests/app/report/test_page.py

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from imclass.app.draw.grid import grid
from imclass.app.load import load_network
from imclass.app.runs.configure import recipes
from imclass.app.runs.curves import history, within_epochs
from imclass.app.runs.directory import Run, read_begun
from imclass.core.codec import flatten, from_json, to_json
from imclass.core.config import Training
from imclass.core.contracts import Dataset, Evaluation, Refused
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.core.model_file import DataFacts, Provenance
from imclass.core.runtime import Runtime
from imclass.core.targets import OneOf
from imclass.core.text import nearest
from imclass.data.catalog import open_splits
from imclass.evaluation.measures.single_label import confidence, predictions
from imclass.evaluation.score import evaluate
from imclass.models.analysis.activations import find_layer, output_of
from imclass.models.classifier import NetworkClassifier, resolve
from imclass.models.views.batches import to_batch
from imclass.store.context import Context
from imclass.store.store import Store
from imclass.training.kinds import kinds_in

MISTAKES = 24  # shown, the most confident first
HELD_OUT = ("test", "validation")  # the first that there is, is scored


@dataclass(frozen=True)
class Epoch:
    """What an epoch of training cost."""

    number: int  # from 1
    images: int
    seconds: float  # of training alone
    waited: float  # seconds of these, for data
    rate: float  # the learning rate at its end


@dataclass(frozen=True)
class Score:
    """The numbers of the headline."""

    split: str
    measure: str  # the main one: top1, or map for several labels
    main: float
    top5: float
    loss: float
    evaluated: int
    total: int


@dataclass(frozen=True)
class Mistake:
    """An image taken for another class: what the network saw, and what it made of it."""

    pixels: UInt8[np.ndarray, "_ _ _"]  # H W C
    name: str
    true: str
    predicted: str
    probability: float  # of the predicted class


@dataclass(frozen=True)
class Inside:
    """The first convolution: its filters, and its maps of one image; pictures, absent where they cannot be drawn."""

    layer: str
    filters: UInt8[np.ndarray, "..."] | None
    name: str = ""
    image: UInt8[np.ndarray, "_ _ _"] | None = None  # H W C
    maps: UInt8[np.ndarray, "_ _"] | None = None


@dataclass(frozen=True)
class Material:
    """All that a report tells."""

    run: str
    training: Training
    usual: Mapping[str, Any] | None  # the recipe's own values by dotted key; None where the recipe is not here
    classes: tuple[str, ...]
    trained: Provenance
    versions: Mapping[str, str]  # of the libraries that it was trained with
    digest: str  # SHA-256 of the model file
    parameters: int
    runtime: Runtime
    history: Sequence[Mapping[str, int | float]]
    within_epochs: Sequence[Mapping[str, int | float]]  # training by step
    epochs: Sequence[Epoch]
    refused: Sequence[Refused]  # of every split
    counts: Mapping[str, Int64[np.ndarray, "K"]]  # images of each class by split, as far as the data is still there
    score: Score | None
    recorded: Score | None  # what the model file says of the same split
    result: Evaluation | None
    mistakes: Sequence[Mistake]
    inside: Inside | None
    problem: str  # why the data could not be looked at again
    changed: bool  # the training images are not those that the network was trained on

    @property
    def data(self) -> str:
        """What the data is called: a data set's name, or a folder's without the way to it."""
        return self.known.name or self.training.data

    @property
    def known(self) -> DataFacts:
        """Return what the model file says of the data."""
        return self.trained.data or DataFacts()


def gather(run: Run, context: Context, workers: int = 0, device: str = "cpu") -> Material:
    """All that there is to tell of a finished run; otherwise a `UserError`."""
    check_finished(run)
    begun, classifier = read_begun(run.config, kinds_in(context)), load_network(run.model, context, device)
    trained = classifier.trained or Provenance()
    log = run.events()
    splits, problem = opened(begun.training, trained, context)
    split = next((s for s in HELD_OUT if s in trained.metrics or s in splits), "")
    result = None
    try:
        result = evaluate(classifier, splits[split], workers=workers) if split in splits else None
    except UserError as error:
        problem = told(str(error), context.store)
    recorded = recorded_score(trained, split)
    return Material(
        run=run.folder.name or "run",
        training=begun.training,
        usual=recipes_own(begun.training, context),
        classes=classifier.classes,
        trained=trained,
        versions=classifier.versions,
        digest=file_digest(run.model),
        parameters=sum(p.numel() for p in classifier.network.parameters()),
        runtime=begun.runtime,
        history=history(log),
        within_epochs=within_epochs(log),
        epochs=costs(log),
        refused=all_refused(log, result, begun.training.data),
        counts={s: class_counts(d) for s, d in splits.items() if d.classes == classifier.classes},
        score=score_of(split, result) if result else recorded,
        recorded=recorded,
        result=result,
        mistakes=worst(classifier, splits[split], result) if result else [],
        inside=look_inside(classifier, splits[split] if result else None, result),
        problem=problem,
        changed="train" in splits and splits["train"].digest() != (trained.data or DataFacts()).digest,
    )


def check_finished(run: Run) -> None:
    """A run is there and has come to its end; otherwise a `UserError` that says what to do."""
    if not run.config.is_file():
        beside = run.folder.parent
        runs = [p.parent.name for p in beside.glob("*/config.json")] if beside.is_dir() else []
        fix = nearest(run.folder.name, runs) or "; give the directory of a finished run"
        raise UserError(f"there is no run in {run.folder}{fix}")
    if not run.finished:
        raise UserError(
            f"the run in {run.folder} is not finished: it has no {run.model.name} yet; "
            "give its `imclass train` command again, and then this one"
        )


def opened(training: Training, trained: Provenance, context: Context) -> tuple[dict[str, Dataset], str]:
    """The splits of the data, by name; or none, and why."""
    try:
        found = open_splits(training.data, context, training.cut)
        return {name: found[name] for name in (trained.data.splits if trained.data else ()) if name in found}, ""
    except UserError as error:
        return {}, told(str(error), context.store)


def class_counts(dataset: Dataset) -> Int64[np.ndarray, "K"]:
    """Images of each class."""
    return dataset.targets.counts(len(dataset.classes))


def told(message: str, store: Store) -> str:
    """A message that may leave this machine: with the user's own paths, but not where home and store lie."""
    return message.split("\n")[0].replace(str(store.folder), "STORE").replace(str(Path.home()), "~")


def recipes_own(training: Training, context: Context) -> dict[str, Any] | None:
    """The values of the recipe itself, by dotted key, with its network's whole row; None where it is not known here."""
    found = recipes(context).entries
    if training.recipe not in found:
        return None
    made: Training = found[training.recipe]()
    return flatten(to_json(replace(made, model=resolve(made.model, context))))


def recorded_score(trained: Provenance, split: str) -> Score | None:
    """What the model file says of a split."""
    known = trained.metrics.get(split)
    if known is None:
        return None
    m = known.measures
    return Score(split, known.main, m[known.main], m.get("top5", math.nan), m["loss"], known.evaluated, known.total)


def score_of(split: str, result: Evaluation) -> Score:
    """The numbers of an evaluation."""
    m = result.measures
    five = m.get("top5", math.nan)
    return Score(split, result.main, m[result.main], five, m["loss"], len(result.targets), result.total)


def costs(log: Sequence[Mapping[str, Any]]) -> list[Epoch]:
    """Each finished epoch's time, from the steps in the log."""
    steps: dict[int, list[Mapping[str, Any]]] = {}
    for entry in log:
        if entry["event"] == "step_end":
            steps.setdefault(entry["epoch"], []).append(entry)
    done = {entry["epoch"] for entry in log if entry["event"] == "epoch_end"}
    return [
        Epoch(
            epoch + 1,
            images=sum(step["images"] for step in own),
            seconds=sum(step["seconds"] for step in own),
            waited=sum(step["waited"] for step in own),
            rate=own[-1]["rate"],
        )
        for epoch, own in sorted(steps.items())
        if epoch in done
    ]


def all_refused(log: Sequence[Mapping[str, Any]], result: Evaluation | None, data: str) -> list[Refused]:
    """Every file that was left out, once, its path relative to the data."""
    entries = [r for e in log if e["event"] in ("step_end", "evaluated") for r in e["refused"]]
    found = [from_json(Refused, entry) for entry in entries] + list(result.refused if result else ())
    root = f"{Path(data).expanduser()}/"
    named = {r.path: Refused(r.path.removeprefix(root), r.code, r.detail.replace(root, "")) for r in found}
    return sorted(named.values(), key=lambda r: r.path)


def worst(classifier: NetworkClassifier, dataset: Dataset, result: Evaluation, most: int = MISTAKES) -> list[Mistake]:
    """The mistakes that the model was surest of; none where images may have several labels."""
    if not isinstance(result.targets, OneOf):
        return []
    predicted = predictions(result.scores)
    sure = confidence(result.scores)
    wrong = np.flatnonzero(predicted != result.targets.numpy())
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    return [
        Mistake(
            seen(classifier, dataset, position),
            dataset.name(position),
            classifier.classes[result.targets.numpy()[i]],
            classifier.classes[predicted[i]],
            float(sure[i]),
        )
        for i, position in zip(wrong, positions(dataset, result)[wrong].tolist(), strict=True)
    ]


def positions(dataset: Dataset, result: Evaluation) -> Int64[np.ndarray, "N"]:
    """Where each scored image stands in its data set."""
    order = np.argsort(dataset.ids)
    return order[np.searchsorted(dataset.ids, result.ids, sorter=order)]


def seen(classifier: NetworkClassifier, dataset: Dataset, i: int) -> UInt8[np.ndarray, "H W C"]:
    """An image as the network sees it, but for the order of its channels."""
    view = classifier.preprocess(dataset[i])
    return view[:, :, ::-1] if classifier.preprocess.channels == "bgr" else view


def look_inside(classifier: NetworkClassifier, dataset: Dataset | None, result: Evaluation | None) -> Inside | None:
    """The first convolution's filters, and its maps of the first image scored; None for a network without any."""
    try:
        layer, module = find_layer(classifier.network, None)
        if not isinstance(module.weight, Tensor):
            return None
        filters = filters_of(module.weight.detach().float().cpu().numpy(), classifier.preprocess.channels)
        if dataset is None or result is None:
            return Inside(layer, filters)
        first = int(positions(dataset, result)[0])
        image = seen(classifier, dataset, first)
        maps = output_of(classifier, module, to_batch(classifier.preprocess(dataset[first])[None]))[0]
        return Inside(layer, filters, dataset.name(first), image, tiled(maps.numpy()))
    except UserError:  # no convolution, one that takes no part, or values that are not finite
        return None


def filters_of(weights: Float[np.ndarray, "n c h w"], channels: str) -> UInt8[np.ndarray, "..."] | None:
    """Filters on grey or colour images as one picture; on anything else there is none to be seen."""
    if weights.shape[1] == 1:
        return tiled(weights[:, 0])
    if weights.shape[1] != 3:
        return None
    return tiled(weights[:, :: -1 if channels == "bgr" else 1].transpose(0, 2, 3, 1))


def tiled(maps: Float[np.ndarray, "N H W *colours"]) -> UInt8[np.ndarray, "GH GW *colours"]:
    """`grid` without its empty rows."""
    rows = math.ceil(len(maps) / (math.isqrt(len(maps) - 1) + 1))
    return grid(maps)[: rows * (maps.shape[1] + 1)]
