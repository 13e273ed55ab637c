"""Features of images: the outputs of one layer of a network, or the input of a model's last layer or part."""

import contextlib
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int64

from imclass.core.contracts import Classifier, Image, NetworkBacked, Refused, RowFunction
from imclass.core.errors import BadImage, UserError
from imclass.core.text import printable_text
from imclass.models.analysis.activations import find_layer, output_of
from imclass.models.views.batches import to_batch
from imclass.models.views.embedding import Embedding
from imclass.pipelines.encoding import unit_length
from imclass.pipelines.parts.network_features import LAYER
from imclass.serving.inputs import NamedImage, batch_items

LAYER_BATCH = 32  # images that pass through the network at a time if the outputs of a layer are recorded
MODEL_BATCH = 16  # images in memory at a time if the model is not a single network; they may be large
BLACK = np.zeros((64, 64, 3), np.uint8)  # the image that shows how long the rows of such a model are


@dataclass(frozen=True)
class RowExtractor:
    """A function from images to rows of numbers, with the name of the layer and the shape of a row."""

    layer: str
    shape: tuple[int, ...]
    rows: RowFunction
    batch: int  # images to process at a time


def choose_extractor(
    classifier: Classifier,
    layer: str | None = LAYER,
    scales: tuple[int, ...] = (),
    mirror: bool = False,
    normalise: bool = False,
) -> RowExtractor:
    """Return the extractor for the layer with this name.

    "penultimate" stands for the input of the last layer or part, and None for the first convolution. `scales`, `mirror`
    and `normalise` are those of an `Embedding`. Raise `UserError` for an unknown layer, or for options that do not fit
    it. If the classifier is not a single network, only "penultimate" and `normalise` fit.
    """
    network = classifier.networks().get("")
    if network is None:
        options = {f"--layer {layer}": layer not in (LAYER, None), "--grid": layer is None}
        check_none_given(options | {"--scales": bool(scales), "--mirror": mirror})
        return whole_extractor(classifier, normalise)
    if layer == LAYER:
        embedding = Embedding(network, scales, mirror, normalise)
        return RowExtractor(LAYER, (embedding.width,), embedding, embedding.batch)
    return layer_extractor(network, layer, {"--scales": bool(scales), "--mirror": mirror, "--normalise": normalise})


def check_none_given(options: Mapping[str, bool]) -> None:
    """Raise `UserError` if the user has given one of these options, which only a single network has."""
    given = [option for option, is_given in options.items() if is_given]
    if given:
        raise UserError(
            f"{given[0]} needs a single network, and the model is not one; leave it out to extract the input of the "
            "model's last part"
        )


def whole_extractor(classifier: Classifier, normalise: bool) -> RowExtractor:
    """Return the extractor for the input of the last part of a model that is not a single network."""
    embed = classifier.embedder()

    def rows(images: Sequence[Image]) -> Float32[np.ndarray, "N D"]:
        found = np.asarray(embed(images), np.float32)
        return unit_length(found) if normalise else found

    return RowExtractor(LAYER, rows([BLACK]).shape[1:], rows, MODEL_BATCH)


def layer_extractor(network: NetworkBacked, layer: str | None, options: Mapping[str, bool]) -> RowExtractor:
    """Return the extractor for the outputs of a layer. Raise `UserError` if the user has given one of the options."""
    chosen = [option for option, given in options.items() if given]
    name, module = find_layer(network.network, layer)
    if chosen:
        raise UserError(f"{chosen[0]} needs --layer {LAYER}, the input of the last layer; the layer is {name}")

    def rows(images: Sequence[Image]) -> Float32[np.ndarray, "N ..."]:
        views = np.stack([network.preprocess(image) for image in images])
        return output_of(network, module, to_batch(views)).numpy()

    size, w_in = network.preprocess.size, network.preprocess.w_in
    return RowExtractor(name, rows([np.zeros((size, size, w_in), np.uint8)]).shape[1:], rows, LAYER_BATCH)


@dataclass(frozen=True)
class LayerOutputs:
    """The rows of the images that could be used, in order. Images that could not be used are in `refused`."""

    layer: str
    outputs: Float[np.ndarray, "N ..."]
    names: tuple[str, ...]
    positions: Int64[np.ndarray, "N"]  # of these images among all that were passed
    refused: tuple[Refused, ...]


def extract_rows(
    items: Generator[NamedImage, None, None],
    extractor: RowExtractor,
    folder: Path | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> LayerOutputs:
    """Return the float32 rows of all images that can be used.

    The rows are kept in an unnamed file in `folder`. The system removes the file when the array is no longer used. The
    rows therefore need little memory, and an interrupted program leaves nothing behind. `report(done)` is called after
    each batch of images. Raise `UserError` if a row is not finite, or if no image can be used.
    """
    names: list[str] = []
    positions: list[int] = []
    refused: list[Refused] = []
    with contextlib.closing(items), tempfile.TemporaryFile(dir=folder) as file:
        for batch in batch_items(items, extractor.batch):
            kept: list[Image] = []
            for name, image in batch:
                if isinstance(image, BadImage):
                    refused.append(Refused(name, image.code, image.detail))
                    continue
                positions.append(len(names) + len(refused))
                names.append(name)
                kept.append(image)
            if kept:
                rows = extractor.rows(kept)
                check_rows_finite(rows, names[-len(kept) :])
                file.write(np.ascontiguousarray(rows).data)
            report(len(names) + len(refused))
        if not names:
            raise UserError(nothing_used_text(refused))
        file.flush()
        outputs = np.memmap(file, np.float32, "c", shape=(len(names), *extractor.shape))
    return LayerOutputs(extractor.layer, outputs, tuple(names), np.array(positions, np.int64), tuple(refused))


def nothing_used_text(refused: Sequence[Refused]) -> str:
    """Return the message for an extraction without a single row."""
    if not refused:
        return "there are no images; pass at least one image"
    first = f"{printable_text(refused[0].path)}: {printable_text(refused[0].detail)}"
    return f"could not use any file ({len(refused):,} refused). The first one: {first}"


def check_rows_finite(rows: Float[np.ndarray, "n ..."], names: Sequence[str]) -> None:
    """Raise `UserError` if a row contains NaN or infinity. The message names the first image with such a row."""
    wrong = np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))
    if len(wrong):
        raise UserError(
            f"the features of {printable_text(names[wrong[0]])} are not finite. The weights of the network are "
            "damaged, or --precision bf16 is too coarse; use another model, or --precision fp32"
        )


def check_maps_shape(extractor: RowExtractor) -> None:
    """Raise `UserError` if the layer does not return maps."""
    if len(extractor.shape) != 3:
        raise UserError(
            f"layer {extractor.layer!r} returns {' x '.join(map(str, extractor.shape))} numbers per image instead of "
            "maps; --grid needs a convolution, pooling or activation layer before the head"
        )
