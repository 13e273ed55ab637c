"""The outputs of one layer of a network for image files."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from imclass.core.contracts import Refused
from imclass.core.errors import BadImage, UserError
from imclass.models.analysis.activations import find_layer, output_of
from imclass.models.classifier import NetworkClassifier
from imclass.models.views.batches import to_batch
from imclass.serving.inputs import Files, batch_items, decode_images


@dataclass(frozen=True)
class LayerOutputs:
    """The outputs of a layer, one for each accepted file, in order. Files that cannot be used are in `refused`."""

    layer: str
    outputs: Float[np.ndarray, "N ..."]
    paths: tuple[str, ...]
    refused: tuple[Refused, ...]


def layer_outputs(
    classifier: NetworkClassifier,
    files: Files,
    layer: str | None = None,
    batch: int = 32,
    workers: int = 0,
    max_pixels: int | None = None,
) -> LayerOutputs:
    """Return the float32 outputs of `layer`, by default the first convolution, for all files that can be used.

    Raise `UserError` for an unknown layer, or if no file can be used.
    """
    name, module = find_layer(classifier.network, layer)
    outputs, paths, refused = [], [], []
    for items in batch_items(decode_images(files, workers, max_pixels), batch):
        refused += [Refused(path, bad.code, bad.detail) for path, bad in items if isinstance(bad, BadImage)]
        kept = [(path, image) for path, image in items if not isinstance(image, BadImage)]
        if kept:
            paths += [path for path, _ in kept]
            views = np.stack([classifier.preprocess(image) for _, image in kept])
            outputs.append(output_of(classifier, module, to_batch(views)).numpy())
    if not outputs:
        first = f"{refused[0].path}: {refused[0].detail}"
        raise UserError(f"could not use any file ({len(files)} refused). The first one: {first}")
    return LayerOutputs(name, np.concatenate(outputs), tuple(paths), tuple(refused))


def first_maps(found: LayerOutputs) -> Float[np.ndarray, "N H W"]:
    """Return the feature maps of the first file. Raise `UserError` if the layer does not return maps."""
    first = found.outputs[0]
    if first.ndim != 3:
        raise UserError(
            f"layer {found.layer!r} returns {' x '.join(map(str, first.shape))} numbers per image instead of maps; "
            "--grid needs a convolution, pooling or activation layer before the head"
        )
    return np.asarray(first)
