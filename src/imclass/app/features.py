"""The verb `features`: what any named layer of a network gives out for image files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from imclass.app.inputs import Files, in_batches
from imclass.core.contracts import Refused
from imclass.core.errors import BadImage, UserError
from imclass.core.text import nearest
from imclass.models.classifier import NetworkClassifier
from imclass.models.views.batches import to_batch


@dataclass(frozen=True)
class Features:
    """A layer's outputs for the files that could be used, in their order."""

    layer: str
    outputs: Float[np.ndarray, "N ..."]
    paths: tuple[str, ...]
    refused: tuple[Refused, ...]


def features(
    classifier: NetworkClassifier, files: Files, layer: str | None = None, batch: int = 32, workers: int = 0
) -> Features:
    """Outputs of `layer` (by default the first convolution) as float32 N ...; a wrong name is a `UserError`."""
    name, module = find_layer(classifier.network, layer)
    outputs, paths, refused = [], [], []
    for several in in_batches(files, batch, workers):
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
    return Features(name, np.concatenate(outputs), tuple(paths), tuple(refused))


def find_layer(network: nn.Module, layer: str | None) -> tuple[str, nn.Module]:
    """The layer of this name, or the first convolution."""
    layers = {name: module for name, module in network.named_modules() if name}
    if layer is None:
        first = next((name for name, module in layers.items() if isinstance(module, nn.Conv2d)), None)
        if first is None:
            raise UserError(f"the network has no convolution; name a layer with --layer: {', '.join(layers)}")
        return first, layers[first]
    if layer not in layers:
        raise UserError(f"the network has no layer {layer!r}{nearest(layer, layers)}")
    return layer, layers[layer]


def output_of(classifier: NetworkClassifier, module: nn.Module, views: Tensor) -> Float[Tensor, "N ..."]:
    """What `module` gives out while the network scores `views`, kept before a later layer can change it in place."""
    caught: list[Tensor] = []

    def keep(_: nn.Module, __: Sequence[Tensor], output: Tensor) -> None:
        caught.append(output.detach().float().cpu().clone())

    hook = module.register_forward_hook(keep)
    try:
        classifier.scores(views)
    finally:
        hook.remove()
    if not caught:
        raise UserError("this layer takes no part when images are classified; name another with --layer")
    return caught[0]


def maps(found: Features) -> Float[np.ndarray, "N H W"]:
    """The first file's maps of a layer that has maps; otherwise a `UserError` that says the shape."""
    first = found.outputs[0]
    if first.ndim != 3:
        raise UserError(
            f"layer {found.layer!r} gives {' x '.join(map(str, first.shape))} numbers an image and no maps; "
            "--grid needs a convolution, pooling or activation before the head"
        )
    return np.asarray(first)
