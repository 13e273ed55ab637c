"""A MODEL of the command line as a classifier: a run, one of its legs or checkpoints, a file, NETWORK:WEIGHTS."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.model_file import TRAINED_ON, ModelHeader, header_of, read_model, without_prefix
from imclass.core.runtime import Arithmetic, device_of
from imclass.data.sets.cifar import CIFAR10
from imclass.evaluation import unpack
from imclass.models.arithmetic.eager import eager_engine
from imclass.models.classifier import NetworkClassifier, model_path
from imclass.models.foreign.convert import ImportOptions, convert
from imclass.models.foreign.published import PUBLISHED_WEIGHTS, obtain_file, published_file
from imclass.store.context import Context
from imclass.training import checkpoint
from imclass.training.checkpoint import Checkpoint, Checkpoints

CHANNELS_LAST = Arithmetic("fp32", "nhwc")  # evaluates most networks faster; benchmarks/protocols.py shows by how much


@dataclass(frozen=True)
class PackedModel:
    """What a MODEL's file holds: the file, its tensors and header, and what the user should know of it."""

    file: Path
    tensors: Mapping[str, Tensor]
    header: ModelHeader
    notes: tuple[str, ...] = ()

    def unpack(self, context: Context, setup: unpack.NetworkSetup = unpack.keep_engine) -> Classifier:
        """Return the classifier, on the CPU as its file has it; `setup` gives its networks another engine."""
        return unpack.unpack(self.tensors, self.header, self.file, context, setup)


def ignore_notes(notes: Sequence[str]) -> None:
    """Drop the notes."""


def load_classifier(
    model: str | Path,
    context: Context,
    arithmetic: Arithmetic = CHANNELS_LAST,
    device: str = "cpu",
    note: Callable[[Sequence[str]], None] = ignore_notes,
) -> Classifier:
    """Return the classifier that `model` names, verified. Raise `UserError` for anything that is wrong with it.

    Its networks are evaluated in this arithmetic, on this device. `note` gets what the user should know.
    """
    packed = read_packed(model, context)
    note(packed.notes)
    return packed.unpack(context, engine_setup(arithmetic, device))


def engine_setup(arithmetic: Arithmetic, device: str) -> unpack.NetworkSetup:
    """Return what lets networks compute in this arithmetic, on this device."""
    place = device_of(device)

    def setup(classifier: NetworkClassifier) -> NetworkClassifier:
        return replace(classifier, engine=eager_engine(classifier.network.to(place), arithmetic))

    return setup


def load_network(
    model: str | Path,
    context: Context,
    device: str = "cpu",
    note: Callable[[Sequence[str]], None] = ignore_notes,
) -> NetworkClassifier:
    """Return the same where one network is needed, with its layers. Raise `UserError` for any other classifier."""
    found = unpack.sole_network(load_classifier(model, context, device=device, note=note))
    if found is None:
        raise UserError(f"{model} is not one network and has no layers; name one of its members")
    return found


def read_packed(model: str | Path, context: Context) -> PackedModel:
    """Return what the file of `model` holds, verified. Raise `UserError` for anything that is wrong with it."""
    check_has_weights(model)
    if is_published(model):
        return read_published(str(model), context)
    path = Path(model)
    if is_checkpoint(path):
        return model_in_checkpoint(read_checkpoint(path))
    if (path / "config.json").is_file() and not model_path(path).exists():
        newest, problems = Checkpoints(path / "checkpoints").newest()
        if newest is not None:
            weights = f"these are the weights of step {newest.record['at']['step']:,}"
            return replace(model_in_checkpoint(newest), notes=(*problems, f"{path} is not finished: {weights}"))
    return PackedModel(model_path(path), *read_model(model_path(path)))


def count_parameters(classifier: Classifier) -> int:
    """Return how many numbers a classifier has learned: its networks' parameters, and arrays outside of networks."""
    networks = classifier.networks()
    found = sum(p.numel() for each in networks.values() for p in each.network.parameters())
    if "" in networks:
        return found
    inside = (*(f"{name}." for name in networks),)
    others = {name: t for name, t in classifier.pack()[0].items() if not name.startswith(inside)}
    return found + sum(t.numel() for name, t in others.items() if name.rpartition(".")[2] != TRAINED_ON)


def is_checkpoint(path: Path) -> bool:
    """Return whether a folder is one checkpoint of a run."""
    return path.is_dir() and (path / checkpoint.MANIFEST_FILE).is_file()


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint, verified; raise `UserError` where it is not whole."""
    try:
        return checkpoint.load_checkpoint(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"the checkpoint {path} is damaged: {error}"
        raise UserError(f"{why}; name another one, or the run, whose newest whole one is then taken") from None


def model_in_checkpoint(found: Checkpoint) -> PackedModel:
    """Return what a checkpoint holds of the model."""
    if "model" not in found.record:
        raise UserError(f"{found.path} does not record its network; go on with its run")
    weights = without_prefix(found.tensors, checkpoint.MODEL_PREFIX)
    return PackedModel(found.path / checkpoint.TENSORS_FILE, weights, header_of(found.record["model"], found.path))


def normal_spelling(model: str) -> str:
    """Return the normal spelling of a MODEL: "runs/a" for "./runs/a/"; NETWORK:WEIGHTS as it is."""
    return model if not model or is_published(model) else os.path.normpath(os.path.expanduser(model))


def is_published(model: str | Path) -> bool:
    """Whether a MODEL is NETWORK:WEIGHTS; a file or folder of that name comes first."""
    network, colon, name = str(model).partition(":")
    return bool(colon and network and name) and not {"/", "\\"} & set(str(model)) and not Path(model).exists()


def check_has_weights(model: str | Path) -> None:
    """A network's name alone is a `UserError` that says which weights of it are published."""
    own = [key for key in PUBLISHED_WEIGHTS if key.partition(":")[0] == str(model)]
    if own and not Path(model).exists():
        raise UserError(f"{model} is a network without weights; published ones are {', '.join(own)}, or train your own")


def read_published(model: str, context: Context) -> PackedModel:
    """Return what NETWORK:WEIGHTS names, converted; what cannot be found or does not fit is a `UserError`.

    The file is taken in anew each time: that costs what reading and checking a converted copy would.
    """
    file = published_file(model)
    path = obtain_file(file, context.store, show_download)
    classes = CIFAR10.classes if file.classes == "cifar10" else None
    wanted = ImportOptions(file.naming, classes, inputs=file.inputs, licence=file.licence)
    return PackedModel(path, *convert(path, file.network, wanted, context)[:2])


def show_download(held: int, size: int) -> None:
    """A download's progress on a terminal's standard error."""
    if sys.stderr.isatty():
        text = f"\r{held / 1e6:,.1f} of {size / 1e6:,.1f} MB"
        print(text, end="\n" if held == size else "", file=sys.stderr, flush=True)
