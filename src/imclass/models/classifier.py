"""A network with its class names and preprocessing: the object that is trained, saved, loaded and evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt64
from torch import Tensor

from imclass.core.bounds import check_bounds
from imclass.core.classes import check_classes, rename_classes
from imclass.core.codec import from_json, to_json
from imclass.core.config import Model
from imclass.core.contracts import Engine, Image, ViewProtocol
from imclass.core.errors import UserError, require
from imclass.core.model_file import (
    TRAINED_ON,
    ModelHeader,
    Provenance,
    contents_in,
    describe_tensor,
    install_advice,
    read_model,
    save_model,
)
from imclass.core.preprocess import Preprocess
from imclass.core.tables import EntryTable
from imclass.core.targets import Link
from imclass.core.text import list_names
from imclass.models.analysis.surgery import FORMS, Form
from imclass.models.arithmetic.eager import EagerEngine
from imclass.models.entry import NetworkEntry, foreign_name_hint, native_size
from imclass.models.layers.initialisers import INITIALISERS, check_initialiser
from imclass.models.layers.sizes import BatchNormBypass, empty_batch_outputs
from imclass.models.network import Network
from imclass.models.views.embedding import Embedding
from imclass.store.context import Context, find_in


def networks(context: Context | None = None) -> EntryTable:
    """Return all networks by name, including those from plugins."""
    table = find_in(context, "imclass.models.nets", "NETS", "network")
    return replace(table, explain=lambda name: weights_hint(name) or foreign_name_hint(name, table.entries))


def weights_hint(name: str) -> str:
    """Return a hint if `name` has the form NETWORK:WEIGHTS, and "" otherwise."""
    network, colon, _ = name.partition(":")
    if not colon:
        return ""
    return (
        f"{name} refers to weights, not a network. To train from these weights, use --init {name}; to train from "
        f"random weights, use --model.network {network}"
    )


NETWORK_KIND = "network"  # the `kind` in the header of a network's model file
# PyTorch and the networks raise any of these for a row with invalid values.
BUILD_ERRORS = (ValueError, RuntimeError, ZeroDivisionError, OverflowError, TypeError)


@dataclass(frozen=True, kw_only=True)
class NetworkBody:
    """The part of a model file's header from which a network is rebuilt."""

    network: str
    row: dict[str, Any]
    preprocess: Preprocess
    folded: bool = False  # whether batch norms are folded into the layers before them
    convolutional: bool = False  # whether the fully connected layers are convolutions
    fine: bool = False  # whether the last pooling layer is applied at every position
    standardise: bool = False  # whether each image is normalised by its pixels' mean and std


@dataclass(frozen=True)
class NetworkClassifier:
    """A convolutional network as a `Classifier`. The network can be rebuilt from `name` and `row`.

    `engine` computes the scores. The default engine runs `network` in float32. `with_network` replaces both the network
    and the engine.
    """

    name: str
    row: dict[str, Any]
    network: Network
    classes: tuple[str, ...]
    preprocess: Preprocess
    link: Link = "softmax"
    thresholds: tuple[float, ...] = ()  # under "sigmoid", the lowest probability of each class; if empty, 0.5 each
    engine: Engine = field(default=None, repr=False, compare=False)  # type: ignore[assignment] # see __post_init__
    trained: Provenance | None = field(default=None, repr=False)
    trained_on: UInt64[np.ndarray, "N"] | None = field(default=None, repr=False, compare=False)  # None: not known
    versions: dict[str, str] = field(default_factory=dict, repr=False)  # of the libraries with which it was created
    licence: str = ""
    forms: tuple[Form, ...] = ()  # for inference

    def __post_init__(self) -> None:
        if not self.engine:
            object.__setattr__(self, "engine", EagerEngine(self.network))

    def __repr__(self) -> str:
        """Return a one-line summary of the network, classes and image size. Print `network` to see the layers."""
        parameters = sum(p.numel() for p in self.network.parameters())
        size, colour = self.preprocess.size, self.preprocess.colour
        return (
            f"NetworkClassifier({self.name}, {parameters:,} parameters, {len(self.classes):,} classes: "
            f"{list_names(self.classes, 3)}; images {size} x {size} {colour})"
        )

    def with_network(self, network: Network) -> "NetworkClassifier":
        """Return a copy of this classifier with another network and an engine of the same kind."""
        return replace(self, network=network, engine=self.engine.for_network(network))

    def transform(self, form: Form) -> "NetworkClassifier":
        """Return a copy for inference whose network has another form, which its model file records."""
        return replace(self.with_network(FORMS[form](self.network)), forms=(*self.forms, form))

    def rename(self, names: Mapping[str, str]) -> "NetworkClassifier":
        """Return a copy of this classifier with some classes renamed."""
        return replace(self, classes=rename_classes(self.classes, names))

    def networks(self) -> dict[str, "NetworkClassifier"]:
        """Return a dictionary that contains only this classifier, with the empty string as its key."""
        return {"": self}

    def protocols(self) -> dict[str, ViewProtocol]:
        """Return an empty mapping, because `preprocess` alone prepares the images."""
        return {}

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return a tuple with the provenance of the network's weights."""
        return (self.trained,)

    def scores(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Return the scores of views of the native size, in float32 on the CPU. The network is then in eval mode."""
        return self.engine.scores(images)

    def dense(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Return the scores at every position of larger images, in float32 on the CPU.

        The distance between neighbouring positions is the network's final stride.
        """
        return self.engine.dense(images)

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Return the scores of images of any size, after preparing each image with `preprocess`."""
        if not len(images):
            return torch.zeros(0, len(self.classes))
        views = np.stack([self.preprocess(image) for image in images]).transpose(0, 3, 1, 2)
        return self.scores(torch.from_numpy(np.ascontiguousarray(views)))

    def embedder(self) -> Embedding:
        """Return the function that computes the input of the network's last layer."""
        return Embedding(self)

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the model file's tensors, with the content hashes of the training images if known, and its header."""
        how: dict[str, Any] = {form: True for form in self.forms} | {"standardise": self.network.standardise}
        body = NetworkBody(network=self.name, row=self.row, preprocess=self.preprocess, **how)
        known = {} if self.trained_on is None else {TRAINED_ON: torch.from_numpy(np.sort(self.trained_on))}
        return {**self.network.state_dict(), **known}, ModelHeader(
            kind=NETWORK_KIND,
            classes=self.classes,
            link=self.link,
            thresholds=self.thresholds,
            body=to_json(body),
            trained=self.trained,
            versions=self.versions,
            licence=self.licence,
        )

    def save(self, path: Path) -> None:
        """Write the classifier to a model file."""
        save_model(path, *self.pack())


def row_of(entry: NetworkEntry, overrides: dict[str, Any], name: str) -> Any:
    """Return the entry's row with `overrides` applied. Raise a `UserError` for an unknown field or a wrong type."""
    return from_json(type(entry.row), {**asdict(entry.row), **overrides}, f"the row of {name}")


def resolve_model(model: Model, context: Context | None = None) -> Model:
    """Return the model with the missing fields of its row filled in from the network's entry."""
    return replace(model, row=asdict(networks(context)[model.network].row) | model.row)


def create(
    model: str | Model,
    classes: Sequence[str],
    preprocess: Preprocess | None = None,
    seed: int = 0,
    context: Context | None = None,
    link: Link = "softmax",
) -> NetworkClassifier:
    """Return a new classifier for these classes, with random weights drawn from `seed`.

    Under the link "sigmoid", an image may have several classes, each with an independent probability. The size in
    `preprocess` must be the network's native size. By default, the shorter side of an image is resized to 8/7 of that
    size, and images are in colour or greyscale, as in the publication. Raise a `UserError` before allocating any memory
    if the arguments do not fit together.
    """
    model = Model(model) if isinstance(model, str) else model
    outline = sketch(model, classes, preprocess, context)
    entry: NetworkEntry = networks(context)[model.network]
    row = row_of(entry, model.row, model.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = entry.build(row, len(classes), outline.preprocess.w_in)
        if model.initialiser:
            INITIALISERS[model.initialiser](network)
    network.normalise(model.mean, model.std, model.standardise)
    return replace(outline.with_network(network), link=link)


def sketch(
    model: Model, classes: Sequence[str], preprocess: Preprocess | None = None, context: Context | None = None
) -> NetworkClassifier:
    """Return what `create` would return, but with weights on the "meta" device, where they need no memory.

    Raise a `UserError` if the arguments do not fit together.
    """
    entry: NetworkEntry = networks(context)[model.network]
    check_initialiser(model.initialiser)
    row = row_of(entry, model.row, model.network)
    check_classes(classes, model.network)
    size = native_size(row, model.network)
    preprocess = preprocess or default_preprocess(entry, size)
    if preprocess.size != size:
        raise UserError(
            f"--preprocess.size is {preprocess.size}, but --model.size, the side of the images that {model.network} "
            f"expects, is {size}. Set both to the same value, such as --model.size {size} --preprocess.size {size}"
        )
    check_bounds(model, "model.")
    for key, values in (("model.mean", model.mean), ("model.std", model.std)):
        require(len(values) in (1, preprocess.w_in), key, values, f"1 value, or {preprocess.w_in} (1 per channel)")
    try:
        with torch.device("meta"):
            network = entry.build(row, len(classes), preprocess.w_in)
    except BUILD_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{model.network} cannot be built with {changed_options(entry, row)}: {reason}") from None
    network.standardise = model.standardise
    check_forward(network, model.network, size, preprocess.w_in, len(classes))
    return NetworkClassifier(model.network, to_json(row), network, tuple(classes), preprocess)


def check_forward(network: Network, name: str, size: int, w_in: int, classes: int) -> None:
    """Pass one image through the network. Raise a `UserError` if this fails or does not return one score per class."""
    network.eval()
    with torch.inference_mode(), BatchNormBypass():
        try:
            scores = empty_batch_outputs(network, (w_in, size, size))
            if getattr(scores, "shape", None) != (0, classes):
                scores = network(torch.zeros(1, w_in, size, size, device=network.mean.device))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{name} cannot process {w_in} x {size} x {size} pixels: {reason}") from None
    if scores.shape not in ((0, classes), (1, classes)):
        found = " x ".join(map(str, scores.shape[1:]))
        fix = "Its head must return one score per class"
        raise UserError(f"{name} returns {found} scores per image, but there are {classes} classes. {fix}")


def changed_options(entry: NetworkEntry, row: Any) -> str:
    """Return the fields in which `row` differs from the entry's row, written as command-line options."""
    defaults = asdict(entry.row)
    return " ".join(option(k.replace("_", "-"), v) for k, v in asdict(row).items() if v != defaults[k])


def option(name: str, value: Any) -> str:
    """Return the command-line option that sets a field of the row."""
    return f"--model.{'' if value else 'no-'}{name}" if isinstance(value, bool) else f"--model.{name} {value}"


def default_preprocess(entry: NetworkEntry, size: int) -> Preprocess:
    """Return preprocessing that resizes the shorter side to 8/7 of `size` (256 for 224), then takes a centre crop."""
    return Preprocess(size=size, colour="grey" if entry.w_in == 1 else "rgb", scale=round(size * 8 / 7))


def load_network_classifier(path: str | Path, context: Context | None = None) -> NetworkClassifier:
    """Read and verify the classifier in a model file or run directory.

    If the file is faulty, raise a `UserError` that names it.
    """
    path = model_path(path)
    return restore_classifier(*read_model(path), path, context)


def model_path(path: str | Path) -> Path:
    """Return the path of the model file, which is `path` or, if `path` is a directory, the model file in it."""
    path = Path(path)
    return path / "model.safetensors" if path.is_dir() else path


def restore_classifier(
    tensors: Mapping[str, Tensor], header: ModelHeader, path: Path, context: Context | None = None
) -> NetworkClassifier:
    """Return the classifier with the given tensors and header. `path` identifies the file in error messages."""
    body = header.body_of(NetworkBody, path)
    contents = contents_in(tensors, path)
    try:
        networks(context)[body.network]  # an unknown name may come from a missing plugin
    except UserError as unknown:
        raise UserError(
            f"{path}: {unknown}\nIf the network comes from a plugin, add the --plugins DIR that it was trained with"
        ) from None
    try:
        classifier = sketch(
            Model(body.network, body.row, standardise=body.standardise), header.classes, body.preprocess, context
        )
        for form in (form for form in FORMS if getattr(body, form)):
            classifier = classifier.transform(form)
    except UserError as error:
        raise UserError(
            f"{path}: {error}\nThis version of imclass cannot build it; {install_advice(header.versions)}"
        ) from None
    weights = {name: tensor for name, tensor in tensors.items() if name != TRAINED_ON}
    check_tensors(classifier, weights, path)
    classifier.network.load_state_dict(weights, assign=True)
    classifier.network.eval()
    return replace(
        classifier,
        link=header.link,
        thresholds=header.thresholds,
        trained=header.trained,
        trained_on=contents,
        versions=header.versions,
        licence=header.licence,
    )


def check_tensors(classifier: NetworkClassifier, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Check that the tensors match the network, and store their mean image, if any, in the network.

    Raise a `UserError` if a tensor is missing, is unknown, or has a different shape or type.
    """
    mean, size = tensors.get("mean"), classifier.network.size
    if mean is not None and mean.shape == (classifier.preprocess.w_in, size, size):
        classifier.network.mean = mean  # the mean image of the training data
    state = classifier.network.state_dict()
    for name in [*state, *tensors]:
        ours, theirs = state.get(name), tensors.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise UserError(
                f"{path}: tensor {name!r} is {describe_tensor(theirs)} in the file and {describe_tensor(ours)} in "
                f"{classifier.name}; the file was written for another network"
            )
