"""Initialisers of weights, by name. Batch norms keep PyTorch's initial scales of 1 and shifts of 0."""

from collections.abc import Callable, Iterator, Mapping

from torch import nn

from imclass.core.errors import UserError
from imclass.core.text import suggestion


def init_he(network: nn.Module) -> None:
    """Draw each weight from N(0, 2 / fan-in), and set biases to 0.

    He et al., ICCV 2015, arXiv:1502.01852, section 2.2.
    """
    for layer in weighted_layers(network):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        fill_bias(layer, 0.0)


def init_he_convolutions(network: nn.Module) -> None:
    """Initialise convolutions like `init_he`. Linear layers keep PyTorch's weights, as in torchvision's ResNet."""
    for layer in weighted_layers(network):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            fill_bias(layer, 0.0)


def init_glorot(network: nn.Module) -> None:
    """Draw each weight from U(-b, b) with b = sqrt(6 / (fan-in + fan-out)), and set biases to 0.

    Glorot and Bengio, AISTATS 2010, equation 16. The fans of a grouped convolution are those of one group.
    """
    for layer in weighted_layers(network):
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        fan_in, fan_out = layer.weight[0].numel(), layer.weight[:, 0].numel() / groups
        bound = (6 / (fan_in + fan_out)) ** 0.5
        nn.init.uniform_(layer.weight, -bound, bound)
        fill_bias(layer, 0.0)


def init_normal(network: nn.Module, std: float = 0.01) -> None:
    """Draw each weight from N(0, std^2), and set biases to 0.

    Simonyan and Zisserman, ICLR 2015, section 3.1. The paper calls its 0.01 a variance. Here 0.01 is the standard
    deviation, because activations explode with a standard deviation of 0.1.
    """
    for layer in weighted_layers(network):
        nn.init.normal_(layer.weight, std=std)
        fill_bias(layer, 0.0)


def init_alexnet(network: nn.Module) -> None:
    """Draw weights from N(0, 0.01^2), and set the biases as in Krizhevsky et al., NIPS 2012, section 5.

    Biases are 1 in the 2nd, 4th and 5th convolutions and in the hidden fully connected layers, and 0 elsewhere.
    """
    init_normal(network)
    layers = list(weighted_layers(network))
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    connected = [layer for layer in layers if isinstance(layer, nn.Linear)]
    ones: list[nn.Conv2d | nn.Linear] = [*convolutions[1:2], *convolutions[3:5], *connected[:-1]]
    for layer in ones:
        fill_bias(layer, 1.0)


def weighted_layers(network: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    """Yield the convolutions and fully connected layers in the order in which they were registered.

    Layers on the "meta" device are skipped: they have no values, but PyTorch would still take time to draw them.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and not layer.weight.is_meta:
            yield layer


def fill_bias(layer: nn.Conv2d | nn.Linear, value: float) -> None:
    """Set every bias of a layer to `value`, if the layer has biases."""
    if layer.bias is not None:
        nn.init.constant_(layer.bias, value)


INITIALISERS: Mapping[str, Callable[[nn.Module], None]] = {
    "glorot": init_glorot,
    "he": init_he,
    "vgg": init_normal,
    "alexnet": init_alexnet,
}


def check_initialiser(name: str) -> None:
    """Raise a `UserError` for an unknown initialiser. "" stands for the network's default."""
    if name and name not in INITIALISERS:
        raise UserError(f"no initialiser is named {name!r}{suggestion(name, INITIALISERS)}")
