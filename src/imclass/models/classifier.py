"""A network with its class names and preprocess: what is trained, saved, loaded, evaluated and asked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from imclass.core.classes import check_classes
from imclass.core.config import Found, Model, find, from_json, need, to_json
from imclass.core.contracts import Entry, Image
from imclass.core.errors import UserError
from imclass.core.files import ModelHeader, read_model, save_model
from imclass.core.preprocess import Preprocess
from imclass.models.layers import Network


def networks(plugins: Sequence[Path] = ()) -> Found:
    """Every network there is, by name."""
    return find("imclass.models.nets", "NETS", "network", plugins)


@dataclass(frozen=True)
class NetworkClassifier:
    """A CNN as a `Classifier`. `name` and `row` say how to build the network again."""

    name: str
    row: dict[str, Any]
    network: Network
    classes: tuple[str, ...]
    preprocess: Preprocess
    header: ModelHeader | None = None  # of the file it was loaded from

    def scores(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Log-scores of views at the native size, float32 on the CPU; the network is left in evaluation mode."""
        self.network.eval()
        with torch.inference_mode():
            return self.network(images.to(self.network.mean.device)).float().cpu()

    def predict(self, images: Sequence[Image], top: int = 5) -> list[list[tuple[str, float]]]:
        """For each uint8 H W C image its `top` classes and their probabilities, the most probable first."""
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
                raise UserError(
                    f"an image is {' x '.join(map(str, image.shape))} {image.dtype}; it must be uint8, height x width "
                    "x 1 or 3 channels"
                )
        if not len(images):
            return []
        views = np.stack([self.preprocess(image) for image in images]).transpose(0, 3, 1, 2)
        posteriors = self.scores(torch.from_numpy(np.ascontiguousarray(views))).softmax(1)
        best = posteriors.topk(min(top, len(self.classes)), dim=1)
        return [
            [(self.classes[k], p) for p, k in zip(values, indices, strict=True)]
            for values, indices in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def save(self, path: Path, **facts: Any) -> None:
        """Write the one-file model; `facts` fill the other fields of its header (recipe, data, metrics ...)."""
        header = ModelHeader(self.name, self.row, self.classes, self.preprocess, **facts)
        save_model(path, self.network.state_dict(), header)


def row_of(entry: Entry, overrides: dict[str, Any], name: str) -> Any:
    """The entry's row with some of its fields replaced; a wrong name or type is a `UserError`."""
    return from_json(type(entry.row), {**asdict(entry.row), **overrides}, f"the row of {name}")


def create(
    model: str | Model,
    classes: Sequence[str],
    preprocess: Preprocess | None = None,
    seed: int = 0,
    plugins: Sequence[Path] = (),
) -> NetworkClassifier:
    """A fresh classifier: the network of this name, with weights drawn from `seed`, for these class names.

    `preprocess` must have the network's native size; by default the shorter side is 8/7 of it, in colour or grey as the
    network was published.
    """
    model = Model(model) if isinstance(model, str) else model
    entry: Entry = networks(plugins)[model.network]
    check_classes(classes, model.network)
    row = row_of(entry, model.row, model.network)
    size = getattr(row, "size", entry.size)
    preprocess = preprocess or default_preprocess(entry, size)
    if preprocess.size != size:
        raise UserError(
            f"--preprocess.size is {preprocess.size}; {model.network} takes {size} x {size}: set it to {size}"
        )
    for key, values in (("model.mean", model.mean), ("model.std", model.std)):
        need(len(values) in (1, preprocess.w_in), key, values, f"1 value, or {preprocess.w_in}: one a channel")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = entry.build(row, len(classes), preprocess.w_in)
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            raise UserError(f"{model.network} cannot be built with {chosen(entry, row)}: {error}") from None
    network.normalise(model.mean, model.std)
    check_forward(network, model.network, size, preprocess.w_in, len(classes))
    return NetworkClassifier(model.network, to_json(row), network, tuple(classes), preprocess)


def check_forward(network: Network, name: str, size: int, w_in: int, classes: int) -> None:
    """One image goes through and gives a score a class; a network whose layers do not fit is a `UserError`."""
    network.eval()
    with torch.inference_mode():
        try:
            scores = network(torch.zeros(1, w_in, size, size, device=network.mean.device))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f"{name} cannot take {w_in} x {size} x {size} pixels: {str(error).splitlines()[0]}"
            ) from None
    if scores.shape != (1, classes):
        raise UserError(f"{name} gives {' x '.join(map(str, scores.shape[1:]))} scores an image; {classes} are wanted")


def chosen(entry: Entry, row: Any) -> str:
    """The fields in which `row` differs from the network's own, as the options that set them."""
    own = asdict(entry.row)
    return " ".join(f"--model.{k.replace('_', '-')} {v}" for k, v in asdict(row).items() if v != own[k])


def default_preprocess(entry: Entry, size: int) -> Preprocess:
    """Shorter side at 8/7 of the native size, as 256 is to 224, then the centre crop."""
    return Preprocess(size=size, colour="grey" if entry.w_in == 1 else "rgb", scale=round(size * 8 / 7))


def load(path: str | Path, plugins: Sequence[Path] = ()) -> NetworkClassifier:
    """The classifier in a model file or a run directory, verified; anything amiss is a `UserError` naming the file."""
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    tensors, header = read_model(path)
    try:
        networks(plugins)[header.network]
    except UserError as unknown:
        why = f"{path}: {unknown}\nIf it is your own, give the --plugins DIR it was trained with"
        raise UserError(why) from None
    classifier = create(Model(header.network, header.row), header.classes, header.preprocess, plugins=plugins)
    mean, size = tensors.get("mean"), classifier.network.size
    if mean is not None and mean.shape == (classifier.preprocess.w_in, size, size):
        classifier.network.mean = mean  # an image, of the data it was trained on
    state = classifier.network.state_dict()
    for name in [*state, *tensors]:
        ours, theirs = state.get(name), tensors.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise UserError(
                f"{path}: tensor {name!r} is {shape(theirs)} in the file and {shape(ours)} in {header.network}; "
                "the file was written for another network"
            )
    classifier.network.load_state_dict(tensors)
    classifier.network.eval()
    return replace(classifier, header=header)


def shape(tensor: Tensor | None) -> str:
    """A tensor's shape in words."""
    return "absent" if tensor is None else " x ".join(map(str, tensor.shape)) or "a single value"
