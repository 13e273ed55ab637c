"""Outputs of a chosen layer of a network."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from imclass.core.contracts import NetworkBacked
from imclass.core.errors import UserError
from imclass.core.text import suggestion


def find_layer(network: nn.Module, layer: str | None) -> tuple[str, nn.Module]:
    """Return the name and module of a layer, by default the first convolution outside the auxiliary heads."""
    layers = {name: module for name, module in network.named_modules() if name}
    if layer is None:
        scoring = {name: module for name, module in layers.items() if not name.startswith("sides.")}
        first = next((name for name, module in scoring.items() if isinstance(module, nn.Conv2d)), None)
        if first is None:
            raise UserError(f"the network has no convolution; choose a layer with --layer: {', '.join(layers)}")
        return first, layers[first]
    if layer not in layers:
        names = ["penultimate", *layers]  # serving/features.py handles the first, which is not a layer
        raise UserError(f"the network has no layer {layer!r}{suggestion(layer, names)}")
    return layer, layers[layer]


def output_of(classifier: NetworkBacked, module: nn.Module, views: Tensor) -> Float[Tensor, "N ..."]:
    """Return the output of `module` when the network scores `views`."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: Sequence[Tensor], output: Tensor) -> None:
        outputs.append(output.detach().float().cpu().clone())  # a later layer may change the tensor in place

    hook = module.register_forward_hook(keep)
    try:
        classifier.scores(views)
    finally:
        hook.remove()
    if not outputs:
        raise UserError("this layer is not used when images are classified; choose another with --layer")
    return outputs[0]
