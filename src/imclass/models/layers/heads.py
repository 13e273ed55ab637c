"""Fully connected heads, penultimate vectors, and the application of a head at every position of larger maps."""

import copy
import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.contracts import NetworkBacked
from imclass.core.errors import UserError
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.pyramid import SpatialPyramid

AVERAGES = (nn.AvgPool2d, nn.Flatten, nn.Identity, Dropout)  # layers allowed after the layer that a solver fits
STRIP_ELEMENTS = 1 << 24  # window elements that `slide` unfolds at a time, which bounds its memory


def slide_head(head: nn.Sequential, maps: Float[Tensor, "N C H W"], dilation: int = 1) -> Float[Tensor, "N K h w"]:
    """Return a head's scores at every position of the maps.

    In the layers of the head that span several positions, these positions lie `dilation` apart.
    """
    for layer in head:
        if isinstance(layer, nn.Linear):
            maps, dilation = slide(maps, layer, dilation), 1
        elif isinstance(layer, nn.AvgPool2d) and dilation > 1:
            maps, dilation = dilated_mean(maps, int(np.max(layer.kernel_size)), dilation), 1
        elif isinstance(layer, nn.Conv2d) and dilation > 1 and layer.kernel_size != (1, 1):
            maps = dilated_convolution(maps, layer, dilation)
        elif isinstance(layer, SpatialPyramid):
            maps, dilation = layer.slide(maps, dilation), 1
        elif isinstance(layer, nn.BatchNorm1d):
            maps = layer(maps.flatten(2)).view_as(maps)  # a BatchNorm1d accepts one axis of positions, not two
        elif not isinstance(layer, nn.Flatten):
            maps = layer(maps)
    return maps


def layers_before_last(head: nn.Sequential) -> nn.Sequential:
    """Return the layers of a head that precede its last layer with weights."""
    last = max(i for i, layer in enumerate(head) if any(True for _ in layer.parameters()))
    return nn.Sequential(*[*head][:last])


def penultimate_vector(head: nn.Sequential, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
    """Return the input of a head's last layer with weights, averaged over space if that input consists of maps."""
    vector = layers_before_last(head)(maps)
    return vector if vector.dim() == 2 else vector.mean((2, 3))


class Penultimate(nn.Module):
    """A head that stops before its last layer with weights, and returns that layer's input, averaged over space."""

    def __init__(self, head: nn.Sequential) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Return the penultimate vectors."""
        return penultimate_vector(self.head, maps)


def without_last_layer(classifier: NetworkBacked, dense: bool = False) -> NetworkBacked:
    """Return a copy of a classifier whose scores are the penultimate vectors of its network.

    With the argument `dense`, the copy has no scores. Its method `dense` returns maps of penultimate vectors.
    """
    network = copy.deepcopy(classifier.network)
    network.head = layers_before_last(network.head) if dense else nn.Sequential(Penultimate(network.head))
    return classifier.with_network(network)


def linear_layer(head: nn.Sequential, network: str) -> nn.Linear | nn.Conv2d:
    """Return a head's last layer with weights. The head's scores must be linear in the input of this layer.

    The layer must be a fully connected layer or a 1x1 convolution, with biases, and only layers of the types in
    `AVERAGES` may follow it. Otherwise raise a `UserError`.
    """
    weighted = [i for i, layer in enumerate(head) if any(True for _ in layer.parameters())]
    last, *after = [*head][weighted[-1] :] if weighted else [nn.Identity()]
    small = isinstance(last, nn.Linear) or (isinstance(last, nn.Conv2d) and last.kernel_size == (1, 1))
    averages = all(isinstance(layer, AVERAGES) for layer in after)
    if isinstance(last, nn.Linear | nn.Conv2d) and small and averages and last.bias is not None:
        return last
    raise UserError(
        f"the head of {network} does not end in one fully connected layer or 1x1 convolution with biases, so a solver "
        "cannot fit it; train it by gradient descent (a stage of kind descend), or choose another network"
    )


def slide(maps: Float[Tensor, "N C H W"], layer: nn.Linear, dilation: int = 1) -> Float[Tensor, "N D h w"]:
    """Apply a fully connected layer, built for maps of the native size, at every position of larger maps.

    This is a convolution with the weights of `layer`. It is computed as matrix products over a few rows of windows at a
    time, because `conv2d` would first copy VGG's 7 x 7 x 512 x 4096 kernel into another memory order.
    """
    side = round((layer.in_features // maps.shape[1]) ** 0.5)
    if side == 1:
        return functional.linear(maps.permute(0, 2, 3, 1), layer.weight, layer.bias).permute(0, 3, 1, 2)
    reach = dilation * (side - 1)
    height, width = maps.shape[2] - reach, maps.shape[3] - reach
    rows = max(1, STRIP_ELEMENTS // (len(maps) * width * layer.in_features))
    strips = []
    for top in range(0, height, rows):
        windows = functional.unfold(maps[:, :, top : top + rows + reach], side, dilation)
        scores = functional.linear(windows.transpose(1, 2), layer.weight, layer.bias)
        strips.append(scores.transpose(1, 2).unflatten(2, (-1, width)))
    return torch.cat(strips, dim=2)


def convolutional_head(head: nn.Sequential, channels: int) -> nn.Sequential:
    """Return a head for maps of any size, in which each fully connected layer is the equivalent convolution.

    `channels` is the number of maps that the head receives. The names of the layers and the order of the weights stay
    the same, so that the tensors of `head` differ only in shape. The flattening comes last. Raise a `ValueError` if a
    layer does not fit maps of height equal to width.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in head.named_children():
        if isinstance(layer, nn.Linear):
            side = math.isqrt(layer.in_features // channels)
            if layer.in_features != channels * side**2:
                raise ValueError(f"layer {name!r} has {layer.in_features:,} inputs, but there are {channels:,} maps")
            layers[name] = as_convolution(layer, side)
            channels = layer.out_features
        elif isinstance(layer, nn.BatchNorm1d):
            norm = nn.BatchNorm2d(
                layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
            )
            norm.load_state_dict(layer.state_dict(), assign=True)
            layers[name] = norm
        elif not isinstance(layer, nn.Flatten):
            layers[name] = layer
            channels = layer.out_channels if isinstance(layer, nn.Conv2d) else channels
    layers["positions"] = nn.Flatten()
    return nn.Sequential(layers)


def as_convolution(layer: nn.Linear, side: int) -> nn.Conv2d:
    """Return the convolution that computes the same as a fully connected layer does for side x side positions."""
    channels = layer.in_features // side**2
    with torch.device("meta"):
        convolution = nn.Conv2d(channels, layer.out_features, side, bias=layer.bias is not None)
    convolution.weight = nn.Parameter(layer.weight.detach().unflatten(1, (channels, side, side)))
    if layer.bias is not None:
        convolution.bias = nn.Parameter(layer.bias.detach())
    return convolution


def dilated_convolution(maps: Float[Tensor, "N C H W"], layer: nn.Conv2d, dilation: int) -> Float[Tensor, "N D h w"]:
    """Return the output of a convolution whose neighbouring positions lie `dilation` apart."""
    spread = tuple(dilation * d for d in layer.dilation)
    padding = layer.padding if isinstance(layer.padding, str) else tuple(dilation * p for p in layer.padding)
    return functional.conv2d(maps, layer.weight, layer.bias, layer.stride, padding, spread, layer.groups)


def dilated_mean(maps: Float[Tensor, "N C H W"], side: int, dilation: int) -> Float[Tensor, "N C h w"]:
    """Return, for every position, the mean of side x side values that lie `dilation` apart."""
    kernel = maps.new_full((maps.shape[1], 1, side, side), 1 / side**2)
    return functional.conv2d(maps, kernel, dilation=dilation, groups=maps.shape[1])


def fully_connected(
    w_in: int, hidden: Sequence[int], classes: int, first: int = 6, drop_inputs: bool = False
) -> nn.Sequential:
    """Return hidden layers with ReLU and dropout, and a last linear layer: the head of AlexNet and its successors.

    Layer numbers start at `first`. Dropout of 0.5 acts on the output of each hidden layer or, with `drop_inputs`, on
    its input.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for n, units in enumerate(hidden, first):
        layer: dict[str, nn.Module] = {f"fc{n}": nn.Linear(w_in, units), f"relu{n}": nn.ReLU(inplace=True)}
        drop: dict[str, nn.Module] = {f"drop{n}": Dropout(0.5)}
        layers.update(drop | layer if drop_inputs else layer | drop)
        w_in = units
    layers[f"fc{first + len(hidden)}"] = nn.Linear(w_in, classes)
    return nn.Sequential(layers)
