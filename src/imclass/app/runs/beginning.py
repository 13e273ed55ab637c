"""What a run begins from where `init` names a model: its network and preprocess, then its weights."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt64
from torch import Tensor

from imclass.app.load import load_network, spelled
from imclass.core.codec import to_json
from imclass.core.config import Model, Training
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.data.facts import mean_image
from imclass.models.beginning import How, begin
from imclass.models.classifier import NetworkClassifier
from imclass.store.context import Context
from imclass.training.plan import Leg

KEPT = ("name", "path", "licence", "digest")  # facts of the data of the source


@dataclass(frozen=True)
class Source:
    """The model that `init` names, and the SHA-256 of its tensors."""

    name: str
    classifier: NetworkClassifier
    digest: str
    notes: tuple[str, ...]  # what the user should know of it

    @property
    def mean_image(self) -> Tensor | None:
        """The mean image that the source subtracts, if it does."""
        mean = self.classifier.network.mean
        return mean if mean.shape[-1] > 1 else None

    @property
    def origin(self) -> dict[str, Any]:
        """What a model file that began from this one says of it: fields of its header."""
        header = self.classifier.file_header
        data = {key: header.data[key] for key in KEPT if header.data.get(key)}
        found = {
            "model": self.name,
            "digest": self.digest,
            "network": self.classifier.name,
            "recipe": header.recipe.get("recipe", ""),
            "data": data,
            "chosen": header.chosen,
            "licence": header.licence,
            "init": header.init,
        }
        return {"licence": header.licence, "init": {key: value for key, value in found.items() if value}}


def open_source(training: Training, context: Context) -> Source | None:
    """Return the model that a config's `init` names, verified; `None` where it names none."""
    if not training.init:
        if len(training.stages) == 1 and training.stages[0].begin == "first-and-last":
            raise UserError("--begin first-and-last takes layers of a model, and there is none; name one with --init")
        return None
    name, notes = spelled(training.init), list[str]()
    try:
        classifier = load_network(name, context, note=notes.extend)
    except UserError as error:
        raise UserError(f"--init: {error}") from None
    digest = tensors_digest(classifier.network.state_dict())
    if training.init_digest not in ("", digest):
        raise UserError(
            f"--init {name} has changed: the SHA-256 of its tensors was {training.init_digest[:12]} and is "
            f"{digest[:12]}; leave --init-digest out, or configure the run again, to begin from what it is now"
        )
    return Source(name, classifier, digest, tuple(notes))


def adopt(training: Training, context: Context) -> Training:
    """Return a config with network, row, normalisation and preprocess of the model that `init` names.

    Where the digest of that model stands in the config, this has been done, and what was set since is kept.
    """
    if not training.init or training.init_digest:
        return training
    source = open_source(training, context)
    if source is None:
        return training
    made = source.classifier
    model = Model(made.name, dict(made.row), values(made.network.mean), values(made.network.std))
    model = replace(model, mean_image=source.mean_image is not None)
    return replace(training, init=source.name, init_digest=source.digest, model=model, preprocess=made.preprocess)


def values(buffer: Tensor) -> tuple[float, ...]:
    """Return the mean of each channel, as the shortest decimals that are the same float32."""
    return tuple(float(str(np.float32(value))) for value in buffer.double().mean((1, 2)).tolist())


def begin_first(legs: Sequence[Leg], source: Source | None) -> tuple[tuple[Leg, ...], tuple[str, ...]]:
    """Return the legs with the first one's network made and filled from the source, and what was taken in words."""
    first = legs[0].make()
    begun = (replace(legs[0], drawn=first), *legs[1:])
    if source is None:
        return begun, ()
    found = begin(first, source.classifier, legs[0].stage.begin)
    taken = (*source.notes, f"begins from {source.name}: {found}")
    return begun, taken


def contents_with(train: Dataset, source: Source | None, how: How) -> UInt64[np.ndarray, "_"]:
    """Return the contents of all images that the weights will have been trained on, those of weights taken included."""
    before = source.classifier.trained_on if source is not None and how != "fresh" else None
    return train.contents() if before is None else np.union1d(train.contents(), before.numpy())


def facts_of(legs: Sequence[Leg], source: Source | None) -> dict[str, Tensor]:
    """Return what is computed from the training data: the mean image under each preprocess of a leg that subtracts one.

    A mean image of the source's is taken where it has the size.
    """
    facts: dict[str, Tensor] = {}
    given = source.mean_image if source is not None else None
    for leg in legs:
        size, name = leg.preprocess.size, mean_name(leg)
        if leg.model.mean_image and name not in facts:
            fits = given is not None and given.shape == (leg.preprocess.w_in, size, size)
            facts[name] = given if given is not None and fits else mean_image(leg.loader.views())
    return facts


def with_means(legs: Sequence[Leg], facts: Mapping[str, Tensor]) -> tuple[Leg, ...]:
    """Return the legs with their mean images."""
    return tuple(replace(leg, mean=facts[mean_name(leg)]) if leg.model.mean_image else leg for leg in legs)


def mean_name(leg: Leg) -> str:
    """Return the name of a leg's mean image among the facts: equal where the preprocess is."""
    record = json.dumps(to_json(leg.preprocess), sort_keys=True)
    return f"mean_image.{hashlib.sha256(record.encode()).hexdigest()[:8]}"
