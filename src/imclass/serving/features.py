"""What a named layer of a network gives out for image files."""

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
    """A layer's outputs for the files that could be used, in their order."""

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
    most_pixels: int | None = None,
) -> LayerOutputs:
    """Return outputs of `layer`, by default the first convolution, float32 N ...; a wrong name is a `UserError`."""
    name, module = find_layer(classifier.network, layer)
    outputs, paths, refused = [], [], []
    for several in batch_items(decode_images(files, workers, most_pixels), batch):
        refused += [Refused(n, b.code, b.detail) for n, b in several if isinstance(b, BadImage)]
        kept = [(n, image) for n, image in several if not isinstance(image, BadImage)]
        if kept:
            paths += [n for n, _ in kept]
            views = np.stack([classifier.preprocess(image) for _, image in kept])
            outputs.append(output_of(classifier, module, to_batch(views)).numpy())
    if not outputs:
        raise UserError(
            f"none of the {len(files)} files could be used, the first: {refused[0].path}: {refused[0].detail}"
        )
    return LayerOutputs(name, np.concatenate(outputs), tuple(paths), tuple(refused))


def first_maps(found: LayerOutputs) -> Float[np.ndarray, "N H W"]:
    """The first file's maps of a layer that has maps; otherwise a `UserError` that says the shape."""
    first = found.outputs[0]
    if first.ndim != 3:
        raise UserError(
            f"layer {found.layer!r} gives {' x '.join(map(str, first.shape))} numbers an image and no maps; "
            "--grid needs a convolution, pooling or activation before the head"
        )
    return np.asarray(first)
