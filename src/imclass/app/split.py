"""Which images `evaluate` scores: what was held out of training where the model knows the data, else all of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.arguments import Evaluate
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.store import open_store
from imclass.data.catalog import open_split, sources
from imclass.models.classifier import NetworkClassifier


@dataclass(frozen=True)
class Known:
    """What a model file says of its training data."""

    facts: Mapping[str, Any]
    recipe: Mapping[str, Any]

    def is_at(self, training: Dataset) -> bool:
        """Whether this training part lies where the model's own did."""
        return training.origin.path == self.facts.get("path")

    def is_same(self, training: Dataset) -> bool:
        """Whether this training part has the content of the model's own, wherever it lies."""
        return training.digest() == self.facts.get("digest")


def split_for(classifier: NetworkClassifier, own: Evaluate) -> tuple[Dataset, str]:
    """The split to score, and a phrase that says which it is and why."""
    header = classifier.header
    known = Known(header.data, header.recipe) if header else Known({}, {})
    data, seed, plugins = data_of(known, own), int(known.recipe.get("seed", 0)), own.common.plugins
    store = open_store(own.common.store, own.common.offline)

    def opened(split: str) -> Dataset:
        return open_split(data, split, store, seed, plugins)

    if own.split is not None:
        chosen, said = opened(own.split), f"split {own.split} of {data}"
        return chosen, said + (learned(known, opened("train")) if own.split in ("train", "all") else "")
    first = opened("train")
    trained_from = known.is_at(first) or known.is_same(first)
    if first.origin.rule.startswith("hash") and not trained_from:
        return opened("all"), f"all images of {data}, which the model was not trained from"
    held_out = next((s for s in ("test", "validation") if s in first.splits), None)
    if held_out is None:
        raise UserError(f"{data} has only a training split; give --split train to score that, or another --data")
    return opened(held_out), f"split {held_out} of {data}" + (reason(known, first) if trained_from else "")


def data_of(known: Known, own: Evaluate) -> str:
    """The data set or folder that is asked for, else the one that the model was trained from."""
    named, path = known.recipe.get("data"), known.facts.get("path")
    if own.data is not None:
        return own.data
    if named is not None and (path is None or named in sources(own.common.plugins).entries):
        return str(named)
    if path is None:
        raise UserError(f"{own.model} does not say what it was trained from; name a data set or folder with --data")
    if not Path(path).is_dir():
        raise UserError(f"{own.model} was trained from {path}, which is not there now; give --data")
    return str(path)


def learned(known: Known, training: Dataset) -> str:
    """A warning where the training part is the model's own."""
    own = known.is_at(training) or known.is_same(training)
    return ", which includes images that the model was trained on" if own else ""


def reason(known: Known, training: Dataset) -> str:
    """Why the held-out part of the model's own data is taken, and whether that is still what it was."""
    why = f" (held out of training: {training.origin.rule})"
    if not known.is_at(training):  # known by its content, then
        return f"{why}; it holds the images that the model was trained from"
    changed = "; the data has changed since training, so the held-out part may not be what it was"
    return why if known.is_same(training) else why + changed
