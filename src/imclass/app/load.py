"""Functions that load a MODEL: a run, a leg or checkpoint of a run, a model file, or NETWORK:WEIGHTS."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from torch import Tensor

from imclass.app.settings.series import Repeats
from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.model_file import TRAINED_ON, ModelHeader, header_of, read_model, without_prefix
from imclass.core.runtime import Arithmetic, device_of
from imclass.data.sets.cifar import CIFAR10
from imclass.evaluation import unpack
from imclass.models.arithmetic.eager import eager_engine
from imclass.models.classifier import NetworkClassifier, model_path
from imclass.models.foreign.convert import ImportOptions, convert
from imclass.models.foreign.published import PUBLISHED_WEIGHTS, WeightFile, obtain_file, published_file
from imclass.store.context import Context
from imclass.store.store import DownloadProgress, Store
from imclass.training import checkpoint
from imclass.training.checkpoint import Checkpoint, Checkpoints

CHANNELS_LAST = Arithmetic("fp32", "nhwc")  # faster for most networks, as measured by benchmarks/protocols.py


@dataclass(frozen=True)
class PackedModel:
    """The contents of a model file or checkpoint: its path, tensors and header, and notes for the user."""

    file: Path
    tensors: Mapping[str, Tensor]
    header: ModelHeader
    notes: tuple[str, ...] = ()

    def unpack(self, context: Context, setup: unpack.NetworkSetup = unpack.keep_engine) -> Classifier:
        """Return the classifier. `setup` is called with each network; by default, networks stay on the CPU."""
        return unpack.unpack(self.tensors, self.header, self.file, context, setup)


def ignore_notes(notes: Sequence[str]) -> None:
    """Ignore the notes."""


def load_classifier(
    model: str | Path,
    context: Context,
    arithmetic: Arithmetic = CHANNELS_LAST,
    device: str = "cpu",
    note: Callable[[Sequence[str]], None] = ignore_notes,
) -> Classifier:
    """Load and verify the classifier that `model` refers to. Raise `UserError` if it is missing or invalid.

    The classifier's networks use the given arithmetic and device. `note` is called with any notes for the user.
    """
    packed = read_packed(model, context)
    note(packed.notes)
    return packed.unpack(context, engine_setup(arithmetic, device))


def engine_setup(arithmetic: Arithmetic, device: str) -> unpack.NetworkSetup:
    """Return a function that makes a network compute in the given arithmetic on the given device."""
    place = device_of(device)

    def setup(classifier: NetworkClassifier) -> NetworkClassifier:
        return replace(classifier, engine=eager_engine(classifier.network.to(place), arithmetic))

    return setup


def load_network(
    model: str | Path,
    context: Context,
    device: str = "cpu",
    note: Callable[[Sequence[str]], None] = ignore_notes,
    arithmetic: Arithmetic = CHANNELS_LAST,
) -> NetworkClassifier:
    """Load a model that is a single network. Raise `UserError` for any other model, such as an ensemble."""
    network = unpack.sole_network(load_classifier(model, context, arithmetic, device, note))
    if network is None:
        raise UserError(f"{model} is not a single network, so it has no layers; choose one of its members")
    return network


def read_packed(model: str | Path, context: Context) -> PackedModel:
    """Read and verify the file that `model` refers to. Raise `UserError` if it is missing or invalid."""
    check_has_weights(model)
    if is_published(model):
        return read_published(str(model), context)
    path = Path(model)
    check_not_repeats(path)
    if is_checkpoint(path):
        return model_in_checkpoint(read_checkpoint(path))
    if (path / "config.json").is_file() and not model_path(path).exists():
        newest, problems = Checkpoints(path / "checkpoints").newest()
        if newest is not None:
            weights = f"these are the weights of step {newest.record['at']['step']:,}"
            return replace(model_in_checkpoint(newest), notes=(*problems, f"{path} is not finished: {weights}"))
    return PackedModel(model_path(path), *read_model(model_path(path)))


def check_not_repeats(path: Path) -> None:
    """Raise a `UserError` if a folder contains repeated splits, which have no model in common."""
    try:
        record = json.loads((path / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(record, dict) and Repeats.option in record and not model_path(path).exists():
        folder = path / Repeats.folder
        raise UserError(f"{path} contains runs on several random splits, not one model; choose one, such as {folder}/1")


def count_parameters(classifier: Classifier) -> int:
    """Return the number of learned values in a classifier: its networks' parameters and its other arrays."""
    networks = classifier.networks()
    count = sum(p.numel() for backed in networks.values() for p in backed.network.parameters())
    if "" in networks:  # the classifier is itself a network
        return count
    prefixes = tuple(f"{name}." for name in networks)
    others = {name: t for name, t in classifier.pack()[0].items() if not name.startswith(prefixes)}
    return count + sum(t.numel() for name, t in others.items() if name.rpartition(".")[2] != TRAINED_ON)


def is_checkpoint(path: Path) -> bool:
    """Return whether a path is the folder of a checkpoint."""
    return path.is_dir() and (path / checkpoint.MANIFEST_FILE).is_file()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint. Raise `UserError` if it is damaged."""
    try:
        return checkpoint.load_checkpoint(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "Choose another checkpoint, or pass the run to use its newest intact checkpoint"
        raise UserError(f"the checkpoint {path} is damaged: {error}. {fix}") from None


def model_in_checkpoint(saved: Checkpoint) -> PackedModel:
    """Return the model in a checkpoint, with the averaged weights if there is an average."""
    if "model" not in saved.record:
        raise UserError(f"the checkpoint {saved.path} does not record its network; resume the run instead")
    average = without_prefix(saved.tensors, checkpoint.AVERAGE_PREFIX)
    weights = average or without_prefix(saved.tensors, checkpoint.MODEL_PREFIX)
    return PackedModel(saved.path / checkpoint.TENSORS_FILE, weights, header_of(saved.record["model"], saved.path))


def normal_spelling(model: str) -> str:
    """Return a MODEL with its path normalised, such as "runs/a" for "./runs/a/". NETWORK:WEIGHTS stays unchanged."""
    return model if not model or is_published(model) else os.path.normpath(os.path.expanduser(model))


def is_published(model: str | Path) -> bool:
    """Return whether a MODEL has the form NETWORK:WEIGHTS and is not the name of an existing file or folder."""
    network, colon, name = str(model).partition(":")
    return bool(colon and network and name) and not {"/", "\\"} & set(str(model)) and not Path(model).exists()


def check_has_weights(model: str | Path) -> None:
    """Raise a `UserError` that lists a network's published weights if `model` is only the network's name."""
    published = [key for key in PUBLISHED_WEIGHTS if key.partition(":")[0] == str(model)]
    if published and not Path(model).exists():
        fix = f"choose published weights ({', '.join(published)}), or train the network"
        raise UserError(f"{model} is a network without weights; {fix}")


def read_published(model: str, context: Context) -> PackedModel:
    """Return the published model NETWORK:WEIGHTS. Raise `UserError` if it cannot be found or does not fit its network.

    The file is converted every time, which takes no longer than reading and checking a converted copy.
    """
    file = published_file(model)
    path = obtain_file(file, context.store, announced_download(file, context.store))
    classes = CIFAR10.classes if file.classes == "cifar10" else None
    wanted = ImportOptions(file.naming, classes, inputs=file.inputs, licence=file.licence)
    return PackedModel(path, *convert(path, file.network, wanted, context)[:2])


def announced_download(file: WeightFile, store: Store) -> DownloadProgress:
    """Return a function that shows the progress of a download. Its first call prints a line about the file."""
    host, target = urlsplit(file.url).hostname, store.path_inside(file.path)
    announcements = iter([f"licence {file.licence}, from {host} to {target}"])

    def report(held: int, size: int) -> None:
        for text in announcements:
            print(f"downloading {file.key}: {size / 1e6:,.1f} MB, {text}", file=sys.stderr, flush=True)
        show_download(held, size)

    return report


def show_download(held: int, size: int) -> None:
    """Print the progress of a download on standard error, if standard error is a terminal."""
    if sys.stderr.isatty():
        text = f"\r{held / 1e6:,.1f} of {size / 1e6:,.1f} MB"
        print(text, end="\n" if held == size else "", file=sys.stderr, flush=True)
