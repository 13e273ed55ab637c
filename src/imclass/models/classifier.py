"""A network with its class names and preprocess: what is trained, saved, loaded, evaluated and asked."""

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
from imclass.models.analysis.surgery import fold_batch_norms
from imclass.models.arithmetic.eager import EagerEngine
from imclass.models.entry import NetworkEntry, native_size
from imclass.models.layers.initialisers import INITIALISERS
from imclass.models.layers.sizes import BatchNormBypass
from imclass.models.network import Network
from imclass.store.context import Context, find_in


def networks(context: Context | None = None) -> EntryTable:
    """Return every network there is, by name."""
    return replace(find_in(context, "imclass.models.nets", "NETS", "network"), explain=weights_hint)


def weights_hint(name: str) -> str:
    """Return what is wrong with NETWORK:WEIGHTS as the name of a network; "" for any other name."""
    network, colon, _ = name.partition(":")
    return colon and (
        f"{name} names weights, not a network; imclass train begins from them with --init {name}, and with "
        f"--model.network {network} from random ones"
    )


NETWORK_KIND = "network"  # the kind in a model file
BUILD_ERRORS = (
    ValueError,
    RuntimeError,
    ZeroDivisionError,
    OverflowError,
    TypeError,
)  # raised for a row that cannot be


@dataclass(frozen=True, kw_only=True)
class NetworkBody:
    """What a network is built from again, in a model file."""

    network: str
    row: dict[str, Any]
    preprocess: Preprocess
    folded: bool = False  # batch norms into the layers that they follow


@dataclass(frozen=True)
class NetworkClassifier:
    """A CNN as a `Classifier`. `name` and `row` say how to build the network again.

    The engine computes scores; by default it is the network itself in plain float32. `with_network` changes both.
    """

    name: str
    row: dict[str, Any]
    network: Network
    classes: tuple[str, ...]
    preprocess: Preprocess
    link: Link = "softmax"
    thresholds: tuple[float, ...] = ()  # from which an image has each class, under "sigmoid"; none: 0.5 each
    engine: Engine = field(default=None, repr=False, compare=False)  # type: ignore[assignment] # see __post_init__
    trained: Provenance | None = field(default=None, repr=False)
    trained_on: UInt64[np.ndarray, "N"] | None = field(default=None, repr=False, compare=False)  # None: not known
    versions: dict[str, str] = field(default_factory=dict, repr=False)  # of the libraries that it was made with
    licence: str = ""
    folded: bool = False

    def __post_init__(self) -> None:
        if not self.engine:
            object.__setattr__(self, "engine", EagerEngine(self.network))

    def __repr__(self) -> str:
        """Return network, classes and image size on a line; the layers are those of `network`."""
        parameters = sum(p.numel() for p in self.network.parameters())
        size, colour = self.preprocess.size, self.preprocess.colour
        return (
            f"NetworkClassifier({self.name}, {parameters:,} parameters, {len(self.classes):,} classes: "
            f"{list_names(self.classes, 3)}; images {size} x {size} {colour})"
        )

    def with_network(self, network: Network) -> "NetworkClassifier":
        """Return the classifier of another network, with an engine as it has now."""
        return replace(self, network=network, engine=self.engine.of(network))

    def fold(self) -> "NetworkClassifier":
        """Return a classifier for inference, in which batch norms are part of the layers that they follow."""
        return replace(self.with_network(fold_batch_norms(self.network)), folded=True)

    def rename(self, names: Mapping[str, str]) -> "NetworkClassifier":
        """Return the classifier with other names for some of its classes."""
        return replace(self, classes=rename_classes(self.classes, names))

    def networks(self) -> dict[str, "NetworkClassifier"]:
        """Return itself, under the empty name."""
        return {"": self}

    def protocols(self) -> dict[str, ViewProtocol]:
        """Return no protocol: it is shown images as `preprocess` says."""
        return {}

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return what is known of its training."""
        return (self.trained,)

    def scores(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Log-scores of views at the native size, float32 on the CPU; the network is left in evaluation mode."""
        return self.engine.scores(images)

    def dense(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Log-scores at every position of larger images, at the network's final stride; float32 on the CPU."""
        return self.engine.dense(images)

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Log-scores of images of any sizes, each as `preprocess` shows it."""
        if not len(images):
            return torch.zeros(0, len(self.classes))
        views = np.stack([self.preprocess(image) for image in images]).transpose(0, 3, 1, 2)
        return self.scores(torch.from_numpy(np.ascontiguousarray(views)))

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of a model file: the network's, and the images it was trained on."""
        body = NetworkBody(network=self.name, row=self.row, preprocess=self.preprocess, folded=self.folded)
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
        """Write the one-file model."""
        save_model(path, *self.pack())


def row_of(entry: NetworkEntry, overrides: dict[str, Any], name: str) -> Any:
    """The entry's row with some of its fields replaced; a wrong name or type is a `UserError`."""
    return from_json(type(entry.row), {**asdict(entry.row), **overrides}, f"the row of {name}")


def resolve_model(model: Model, context: Context | None = None) -> Model:
    """Return the model with every field of its network's row; those that it does not set are the table's."""
    return replace(model, row=asdict(networks(context)[model.network].row) | model.row)


def create(
    model: str | Model,
    classes: Sequence[str],
    preprocess: Preprocess | None = None,
    seed: int = 0,
    context: Context | None = None,
    link: Link = "softmax",
) -> NetworkClassifier:
    """A fresh classifier: the network of this name, with weights drawn from `seed`, for these class names.

    With the link "sigmoid" an image may have several of the classes, each with a probability by itself.

    `preprocess` must have the network's native size; by default the shorter side is 8/7 of it, in colour or grey as the
    network was published. Whether everything fits is found out before anything is allocated.
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
    network.normalise(model.mean, model.std)
    return replace(outline.with_network(network), link=link)


def sketch(
    model: Model, classes: Sequence[str], preprocess: Preprocess | None = None, context: Context | None = None
) -> NetworkClassifier:
    """The classifier that `create` would make, without memory for its weights: they are on the "meta" device.

    Whatever does not fit together is a `UserError`.
    """
    entry: NetworkEntry = networks(context)[model.network]
    if model.initialiser:
        EntryTable("initialiser", dict(INITIALISERS))[model.initialiser]
    row = row_of(entry, model.row, model.network)
    check_classes(classes, model.network)
    size = native_size(row, model.network)
    preprocess = preprocess or default_preprocess(entry, size)
    if preprocess.size != size:
        raise UserError(
            f"--preprocess.size is {preprocess.size}, and --model.size, the side of the images that {model.network} "
            f"takes, is {size}; set both to one value, such as --model.size {size} --preprocess.size {size}"
        )
    check_bounds(model, "model.")
    for key, values in (("model.mean", model.mean), ("model.std", model.std)):
        require(len(values) in (1, preprocess.w_in), key, values, f"1 value, or {preprocess.w_in}: one a channel")
    try:
        with torch.device("meta"):
            network = entry.build(row, len(classes), preprocess.w_in)
    except BUILD_ERRORS as error:
        why = str(error).splitlines()[0]
        raise UserError(f"{model.network} cannot be built with {changed_options(entry, row)}: {why}") from None
    check_forward(network, model.network, size, preprocess.w_in, len(classes))
    return NetworkClassifier(model.network, to_json(row), network, tuple(classes), preprocess)


def check_forward(network: Network, name: str, size: int, w_in: int, classes: int) -> None:
    """One image goes through and gives a score a class; a network whose layers do not fit is a `UserError`."""
    network.eval()
    with torch.inference_mode(), BatchNormBypass():
        try:
            scores = network(torch.zeros(1, w_in, size, size, device=network.mean.device))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f"{name} cannot take {w_in} x {size} x {size} pixels: {str(error).splitlines()[0]}"
            ) from None
    if scores.shape != (1, classes):
        raise UserError(f"{name} gives {' x '.join(map(str, scores.shape[1:]))} scores an image; {classes} are wanted")


def changed_options(entry: NetworkEntry, row: Any) -> str:
    """The fields in which `row` differs from the network's own, as the options that set them."""
    own = asdict(entry.row)
    return " ".join(option(k.replace("_", "-"), v) for k, v in asdict(row).items() if v != own[k])


def option(name: str, value: Any) -> str:
    """A field of the row as the command line takes it."""
    return f"--model.{'' if value else 'no-'}{name}" if isinstance(value, bool) else f"--model.{name} {value}"


def default_preprocess(entry: NetworkEntry, size: int) -> Preprocess:
    """Shorter side at 8/7 of the native size, as 256 is to 224, then the centre crop."""
    return Preprocess(size=size, colour="grey" if entry.w_in == 1 else "rgb", scale=round(size * 8 / 7))


def load_network_classifier(path: str | Path, context: Context | None = None) -> NetworkClassifier:
    """The classifier in a model file or a run directory, verified; anything amiss is a `UserError` naming the file."""
    path = model_path(path)
    return restore_classifier(*read_model(path), path, context)


def model_path(path: str | Path) -> Path:
    """The model file that is meant by a path: itself, or a run directory's."""
    path = Path(path)
    return path / "model.safetensors" if path.is_dir() else path


def restore_classifier(
    tensors: Mapping[str, Tensor], header: ModelHeader, path: Path, context: Context | None = None
) -> NetworkClassifier:
    """The classifier with the tensors and the header that were read from `path`, which messages name."""
    body, contents = header.body_of(NetworkBody, path), contents_in(tensors, path)
    try:
        networks(context)[body.network]
    except UserError as unknown:
        why = f"{path}: {unknown}\nIf it is your own, give the --plugins DIR it was trained with"
        raise UserError(why) from None
    try:
        classifier = sketch(Model(body.network, body.row), header.classes, body.preprocess, context)
    except UserError as error:
        raise UserError(f"{path}: {error}\nThis imclass cannot build it; {install_advice(header.versions)}") from None
    classifier = classifier.fold() if body.folded else classifier
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
    """A `UserError` unless these are the network's tensors, of its shapes; the mean may be an image."""
    mean, size = tensors.get("mean"), classifier.network.size
    if mean is not None and mean.shape == (classifier.preprocess.w_in, size, size):
        classifier.network.mean = mean  # of the data it was trained on
    state = classifier.network.state_dict()
    for name in [*state, *tensors]:
        ours, theirs = state.get(name), tensors.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise UserError(
                f"{path}: tensor {name!r} is {describe_tensor(theirs)} in the file and {describe_tensor(ours)} in "
                f"{classifier.name}; the file was written for another network"
            )
