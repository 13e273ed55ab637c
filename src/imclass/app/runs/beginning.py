"""What a run begins from where `init` names a model: its network and preprocess, then its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from imclass.app.load import load_network, spelled
from imclass.core.config import Model, Training
from imclass.core.errors import UserError
from imclass.core.model_file import ModelHeader, tensors_digest
from imclass.models.beginning import begin
from imclass.models.classifier import NetworkClassifier
from imclass.models.network import Network
from imclass.store.context import Context

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
        return None
    name, notes = spelled(training.init), list[str]()
    try:
        classifier = load_network(name, context, note=notes.extend)
    except UserError as error:
        raise UserError(f"--init {error}") from None
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


def begin_first(
    training: Training, classifier: NetworkClassifier, source: Source | None
) -> tuple[NetworkClassifier, tuple[str, ...]]:
    """Fill the network of the first stage from the source; return it with its header, and a sentence on what was taken.

    `classifier` is fresh, with its normalisation.
    """
    if source is None:
        return classifier, ()
    found = begin(classifier, source.classifier, training.stages[0].begin)
    header = ModelHeader(classifier.name, classifier.row, classifier.classes, classifier.preprocess, **source.origin)
    return replace(classifier, header=header), (*source.notes, f"begins from {source.name}: {found}")


def mean_image_of(source: Source | None, network: Network) -> Tensor | None:
    """Return the mean image of the source, where it has one of this network's size."""
    image = source.mean_image if source is not None else None
    shape = (network.w_in, network.size, network.size)
    return image if image is not None and image.shape == shape else None


def origin_of(classifier: NetworkClassifier) -> Mapping[str, Any]:
    """Return the fields of a model file's header that say what its weights began from."""
    header = classifier.file_header
    return {"licence": header.licence, "init": header.init}
