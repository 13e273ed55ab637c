"""Initialisation of a run from the model given by `init`: its network, preprocessing and weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt64
from torch import Tensor

from imclass.app.load import load_network, normal_spelling
from imclass.core.classes import imagenet_classes
from imclass.core.config import Model, RunConfig, Training
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import Ancestor, tensors_digest
from imclass.core.text import list_names
from imclass.data.sets.cifar import CIFAR10
from imclass.models.beginning import BeginMode, Beginning, begin, shortlist
from imclass.models.classifier import NetworkClassifier, create, default_preprocess, networks
from imclass.models.entry import NetworkEntry, native_size
from imclass.models.foreign.inputs import INPUTS, inputs_from
from imclass.models.foreign.published import PUBLISHED_WEIGHTS, WeightFile, stored_file
from imclass.models.network import Network
from imclass.store.context import Context
from imclass.store.store import Store
from imclass.training.finite import first_nonfinite
from imclass.training.plan import Leg

FLOAT_BYTES = 4


@dataclass(frozen=True)
class InitModel:
    """The model given by `init`."""

    name: str
    classifier: NetworkClassifier
    digest: str  # SHA-256 of its tensors
    notes: tuple[str, ...]  # for the user

    @property
    def mean_image(self) -> Tensor | None:
        """Return the mean image that the model subtracts, or None if it does not subtract one."""
        mean = self.classifier.network.mean
        return mean if mean.shape[-1] > 1 else None

    @property
    def measured(self) -> dict[str, tuple[tuple[float, ...], ...]]:
        """Return the matrices that augmentations computed from the model's training images, keyed by kind."""
        return self.classifier.trained.measured if self.classifier.trained else {}

    @property
    def ancestor(self) -> Ancestor:
        """Return the description of this model that is stored in the model files of runs that begin from it."""
        return Ancestor(
            model=self.name,
            digest=self.digest,
            network=self.classifier.name,
            licence=self.classifier.licence,
            trained=self.classifier.trained,
        )


@dataclass(frozen=True)
class Fetch:
    """Published weights that a run would download. `size` is the size of float32 weights, in bytes."""

    name: str
    url: str
    size: int
    licence: str


def weights_to_fetch(init: str, store: Store) -> Fetch | None:
    """Return the published weights that a run must download, or None if it can begin without a download."""
    file = PUBLISHED_WEIGHTS.get(init)
    if file is None or not file.url or store.offline or stored_file(file, store) is not None:
        return None
    entry: NetworkEntry = networks()[file.network]
    return Fetch(file.key, file.url, FLOAT_BYTES * entry.parameters, file.licence)


def classifier_like(file: WeightFile, context: Context) -> NetworkClassifier:
    """Return a classifier like that of published weights, but with random weights."""
    entry: NetworkEntry = networks(context)[file.network]
    default = default_preprocess(entry, native_size(entry.row, file.network))
    inputs = inputs_from(INPUTS[file.inputs], default, file.key)
    names = CIFAR10.classes if file.classes == "cifar10" else imagenet_classes()
    classifier = create(file.network, names, replace(inputs.preprocess, channels="rgb"), context=context)
    for name, buffer in inputs.buffers().items():
        classifier.network.get_buffer(name).copy_(buffer)
    return replace(classifier, licence=file.licence)


def open_init(training: RunConfig, context: Context, dry: bool = False) -> InitModel | None:
    """Load and verify the model given by a config's `init`. Return `None` if `init` is empty.

    If `dry` is true, nothing is downloaded: random weights replace published weights that the store lacks.
    """
    if not training.init:
        stages = training.stages if isinstance(training, Training) else ()
        if len(stages) == 1 and stages[0].begin == "first-and-last":
            raise UserError("--begin first-and-last copies layers from another model; specify that model with --init")
        return None
    name, notes = normal_spelling(training.init), list[str]()
    if dry and weights_to_fetch(name, context.store):
        return InitModel(name, classifier_like(PUBLISHED_WEIGHTS[name], context), training.init_digest, ())
    try:
        classifier = load_network(name, context, note=notes.extend)
    except UserError as error:
        raise UserError(f"--init: {error}{stored_weights_text(name, context)}") from None
    if classifier.forms:
        form = " and ".join(classifier.forms)
        raise UserError(
            f"--init {name} was converted for inference ({form}), so it cannot be trained; use the original"
        )
    tensors = classifier.network.state_dict()
    if wrong := first_nonfinite(tensors.items()):
        raise UserError(f"--init {name} is damaged: {wrong} has values that are not finite; use another model")
    digest = tensors_digest(tensors)
    if training.init_digest not in ("", digest):
        raise UserError(
            f"--init {name} has changed: the SHA-256 of its tensors was {training.init_digest[:12]} and is "
            f"now {digest[:12]}. To begin from the current model, leave out --init-digest, or configure the run again"
        )
    return InitModel(name, classifier, digest, tuple(notes))


def stored_weights_text(name: str, context: Context) -> str:
    """Return a line with options that need no download, if the store lacks the published weights `name`.

    Return "" if the store contains them, or if there are no published weights of this name.
    """
    file = PUBLISHED_WEIGHTS.get(name)
    if file is None or stored_file(file, context.store) is not None:
        return ""
    stored = [key for key, other in PUBLISHED_WEIGHTS.items() if stored_file(other, context.store) is not None]
    mine = "--init MODEL, where MODEL is one of your runs or model files"
    if not stored:
        return f"\nThe store {context.store.folder} has no published weights. Run the same command with {mine}"
    options = [f"--init {key}" for key in stored]
    return f"\nTo use weights that the store has, run the same command with {', '.join(options)}, or with {mine}"


def adopt(training: Training, context: Context, dry: bool = False) -> Training:
    """Return a config with the network, row, normalisation and preprocessing of the model given by `init`.

    A config with an `init_digest` has already adopted these. It is returned unchanged, so that later changes are kept.
    """
    source = None if training.init_digest else open_init(training, context, dry)
    if source is None:
        return training
    found = source.classifier
    model = Model(found.name, dict(found.row), channel_means(found.network.mean), channel_means(found.network.std))
    model = replace(model, mean_image=source.mean_image is not None, standardise=found.network.standardise)
    return replace(training, init=source.name, init_digest=source.digest, model=model, preprocess=found.preprocess)


def channel_means(buffer: Tensor) -> tuple[float, ...]:
    """Return the mean of each channel, rounded to the shortest decimal with the same float32 value."""
    return tuple(float(str(np.float32(value))) for value in buffer.double().mean((1, 2)).tolist())


def classes_to_grow(training: Training, source: InitModel | None) -> tuple[str, ...]:
    """Return the classes of the model to grow, or an empty tuple if no model grows.

    Raise `UserError` if a stage would discard the weights of that model.
    """
    if not training.grow or source is None:
        return ()
    if any(stage.begin == "fresh" for stage in training.stages):
        raise UserError(f"--begin fresh discards the weights of {source.name}, so leave out --grow or --begin")
    return source.classifier.classes


def begin_first(
    legs: Sequence[Leg], source: InitModel | None, unseen: Sequence[str] = ()
) -> tuple[tuple[Leg, ...], tuple[str, ...]]:
    """Create the first leg's network, initialised from the source if there is one. Return all legs, and notes.

    `unseen` contains the source's classes without training images. Raise `UserError` if their rows cannot be kept.
    """
    first = legs[0].make()
    legs = (replace(legs[0], premade=first), *legs[1:])
    if source is None:
        return legs, ()
    found = begin(first, source.classifier, legs[0].stage.begin)
    if legs[0].stage.kind == "solve" and legs[0].stage.begin != "fresh":
        check_features(first.network, found, source.name)
    lost = [name for name in unseen if name not in found.rows]
    if lost:
        raise UserError(
            f"--grow: {list_names(lost)} have no training images, and the last layer of {source.name} does not fit "
            f"that of {first.name}, so their rows cannot be kept; use the network of {source.name}, or add images"
        )
    return legs, (*source.notes, f"begins from {source.name}: {found}", *unseen_notes(legs, unseen))


def unseen_notes(legs: Sequence[Leg], unseen: Sequence[str]) -> Iterator[str]:
    """Yield a note on the classes that keep their rows without training images, and on what happens to their scores."""
    if not unseen:
        return
    data = legs[0].loader.dataset
    note = f"keeps the rows of classes without photos in {data.origin.name}: {list_names(unseen)}"
    if any(leg.stage.kind == "descend" for leg in legs):
        note += ". Training without photos of a class makes a model forget it; add photos of the old classes"
    elif data.targets.link == "softmax":
        note += ". Their scores do not compare well with those of the fitted rows; add photos of the old classes"
    yield note


def check_features(network: Network, found: Beginning, source: str) -> None:
    """Raise `UserError` unless every layer has the weights of the source.

    Layers with a row per class and side classifiers may have other weights.
    """
    heads = network.class_tensors()
    fresh = tuple(name for name in found.fresh if name not in heads and not name.startswith("sides."))
    if fresh:
        layers = shortlist(tuple(dict.fromkeys(name.rpartition(".")[0] for name in fresh)))
        raise UserError(
            f"--init {source} has no weights that fit {layers}, so the solver would be fitted to features of random "
            "layers. Leave out the options that change the network or its preprocessing, or choose another model"
        )


def contents_with(train: Dataset, source: InitModel | None, how: BeginMode) -> UInt64[np.ndarray, "_"]:
    """Return the content hashes of all images that the run's weights are trained on.

    These are the run's training images and, if the run begins from the source's weights, the source's training images.
    """
    before = source.classifier.trained_on if source is not None and how != "fresh" else None
    return train.contents() if before is None else np.union1d(train.contents(), before)
