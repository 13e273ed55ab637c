"""Extraction of `Features` from images with a model."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.features.result import Features
from imclass.app.load import load_classifier
from imclass.core.codec import to_json
from imclass.core.contracts import Classifier, Dataset
from imclass.core.errors import UserError, require
from imclass.core.model_file import TRAINED_ON, tensors_digest
from imclass.core.runtime import Arithmetic
from imclass.data.catalog import dataset_table
from imclass.data.names import ids_of
from imclass.data.threads import decode_in_order
from imclass.evaluation.held_out import choose_split
from imclass.evaluation.request import Progress, parse_scales
from imclass.evaluation.unpack import sole_network
from imclass.models.classifier import NetworkClassifier
from imclass.pipelines.parts.network_features import LAYER
from imclass.serving.features import RowExtractor, choose_extractor, extract_rows
from imclass.serving.inputs import NamedImage, decode_images, name_images
from imclass.store.context import Context


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """The options that determine the features of an image."""

    layer: str | None = LAYER  # None stands for the first convolution
    scales: tuple[int, ...] = ()
    mirror: bool = False
    normalise: bool = False
    precision: str = "fp32"


@dataclass(frozen=True)
class ImageList:
    """The images whose features are extracted: a split of a data set, or images without labels."""

    scope: str  # what the images are, in words
    images: Any = None  # (name, image) pairs
    dataset: Dataset | None = None

    @property
    def total(self) -> int | None:
        """Return the number of images, or None if it is not known before they are read."""
        images = self.images if self.dataset is None else self.dataset
        return len(images) if hasattr(images, "__len__") else None

    def items(self, workers: int, max_pixels: int | None) -> Generator[NamedImage, None, None]:
        """Yield, in order, the name of each image with its pixels, or with the reason why it is refused."""
        if self.dataset is None:
            yield from decode_images(self.images, workers, max_pixels)
            return
        found = decode_in_order(self.dataset, np.arange(len(self.dataset)), workers)
        yield from ((self.dataset.name(i), image) for i, image in enumerate(found))


def feature_options(
    layer: str | None, scales: Any, mirror: bool, normalise: bool, precision: str, workers: int
) -> FeatureOptions:
    """Return the options as a value. Raise `UserError` if one of them is invalid."""
    require(workers >= 0, "workers", workers, "0 or more threads")
    require(precision in ("fp32", "bf16"), "precision", repr(precision), "fp32 or bf16")
    sides = () if scales is None else parse_scales(scales)
    return FeatureOptions(layer=layer, scales=sides, mirror=mirror, normalise=normalise, precision=precision)


def open_classifier(
    model: Any, options: FeatureOptions, device: str, context: Context, progress: Progress
) -> Classifier:
    """Return the classifier that a model refers to. Raise `UserError` if there is none."""
    if isinstance(model, str | Path):

        def note(notes: Iterable[str]) -> None:
            for text in notes:
                progress.note(text)

        return load_classifier(model, context, Arithmetic(options.precision, "nhwc"), device, note)
    if not isinstance(model, Classifier):
        raise UserError(f"the model has type {type(model).__name__}; pass its path, or a classifier returned by load")
    if options.precision != "fp32":
        raise UserError(
            f"precision {options.precision} needs a model that is loaded from a file; pass the model's path"
        )
    return model


def open_network(
    model: Any, options: FeatureOptions, device: str, context: Context, progress: Progress
) -> NetworkClassifier:
    """Return the network of a model. Raise `UserError` if the model is not a single network."""
    network = sole_network(open_classifier(model, options, device, context, progress))
    if network is None:
        name = model if isinstance(model, str | Path) else "the model"
        raise UserError(f"{name} is not a single network, so it has no layers; choose one of its members")
    return network


def check_one_source(images: Any, data: Any, split: str | None) -> None:
    """Raise `UserError` unless the images are either given directly or chosen by `data` and `split`."""
    if images is None and data is None and split is None:
        raise UserError("specify image files or folders after the model, or a data set with --data NAME|PATH")
    if images is not None and (data is not None or split is not None):
        option = "--data" if data is not None else "--split"
        raise UserError(f"{option} and image paths cannot be combined; pass either a data set or paths")


def check_not_data(paths: Iterable[str], context: Context) -> None:
    """Raise `UserError` if a path does not exist but is the name of a data set."""
    for path in paths:
        if not Path(path).exists() and path in dataset_table(context).entries:
            raise UserError(f"{path} is the name of a data set, not of a file or folder; pass --data {path}")


def choose_images(model: Any, classifier: Classifier, data: Any, split: str | None, context: Context) -> ImageList:
    """Return the images of a split. The split is chosen as in `evaluate`, but none of its images is left out."""
    if not isinstance(data, Dataset):
        name = str(model) if isinstance(model, str | Path) else "the model"
        chosen = choose_split({name: classifier}, None if data is None else str(data), split, context)
        return ImageList(chosen.scope, dataset=chosen.dataset)
    if split not in (None, data.split):
        raise UserError(f"the data is the split {data.split!r}; leave out `split`, or pass the other split as data")
    return ImageList(f"split {data.split} of {data.origin.name or data.origin.path}", dataset=data)


@dataclass(frozen=True)
class Extraction:
    """The checked inputs of an extraction."""

    classifier: Classifier
    options: FeatureOptions
    extractor: RowExtractor
    images: ImageList


def prepare_extraction(
    model: Any,
    images: Any,
    data: Any,
    split: str | None,
    options: FeatureOptions,
    device: str,
    context: Context,
    progress: Progress,
) -> Extraction:
    """Load the model and open the images. Raise `UserError` for invalid arguments."""
    check_one_source(images, data, split)
    named = None if images is None else ImageList("", name_images(images))
    classifier = open_classifier(model, options, device, context, progress)
    extractor = choose_extractor(classifier, options.layer, options.scales, options.mirror, options.normalise)
    listed = named or choose_images(model, classifier, data, split, context)
    return Extraction(classifier, options, extractor, listed)


def extract_features(
    prepared: Extraction, workers: int, max_pixels: int | None, progress: Progress, folder: Path | None = None
) -> Features:
    """Return the features of all images that can be used.

    They are kept in a temporary file, not in memory. The file is in `folder` or, without it, in the system's folder for
    temporary files.
    """
    images, total = prepared.images, prepared.images.total

    def report(done: int) -> None:
        if total is not None:
            progress.count("features", done, total)

    found = extract_rows(images.items(workers, max_pixels), prepared.extractor, folder, report)
    tensors, header = prepared.classifier.pack()
    learned = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] != TRAINED_ON}
    record = {
        "kind": header.kind,
        "network": ", ".join(network.name for network in prepared.classifier.networks().values()),
        "model_digest": tensors_digest(learned),
        "images": images.scope,
        **to_json(replace(prepared.options, layer=found.layer)),
        "refused": to_json(found.refused),
    }
    dataset = images.dataset
    return Features(
        layer=found.layer,
        features=found.outputs,
        names=found.names,
        ids=ids_of(found.names) if dataset is None else dataset.ids[found.positions],
        targets=None if dataset is None else dataset.targets[found.positions],
        classes=() if dataset is None else dataset.classes,
        refused=found.refused,
        record=record,
    )
