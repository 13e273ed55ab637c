"""Forms of networks for inference: folded batch norms, convolutions as the head, and pooling at every position."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.core.errors import UserError
from imclass.models.analysis.flow import Step, flow
from imclass.models.analysis.geometry import AxisField, Field, last_field
from imclass.models.layers.heads import convolutional_head, penultimate_vector, slide_head
from imclass.models.network import Network, PixelTensor

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
WeightedLayer = nn.Conv2d | nn.Linear


def fold_batch_norms(network: Network) -> Network:
    """Return a copy for inference in which batch norms are folded into the layers that precede them.

    For each channel, W' = W * gamma / sqrt(variance + eps), and b' = (b - mean) * gamma / sqrt(variance + eps) + beta.
    A batch norm is folded if it is the only consumer of the output of a convolution or linear layer. Other batch norms,
    such as those before the convolutions in pre-activation networks, remain, and `batch_norms` lists them. Auxiliary
    heads, which are used only in training, are left out.
    """
    folded = deepcopy(network).eval()
    folded.sides = nn.ModuleDict()
    for layer, norm in foldable_pairs(folded, flow(folded)):
        absorb(folded.get_submodule(layer), folded.get_submodule(norm))
        folded.set_submodule(norm, nn.Identity())
    return folded


def batch_norms(network: nn.Module) -> tuple[str, ...]:
    """Return the names of a network's batch norms."""
    return tuple(name for name, layer in network.named_modules() if isinstance(layer, BatchNorm))


def foldable_pairs(network: Network, steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Return pairs of names: a layer, and the batch norm that can be folded into it.

    The layer is a convolution or linear layer, and the batch norm is the only consumer of its output. Both modules must
    be used only once, since folding for one use would be wrong for another.
    """
    modules = dict(network.named_modules())
    uses = Counter(step.layer for step in steps)
    readers = Counter(value.number for step in steps for value in step.inputs)
    makers = {value.number: step.layer for step in steps for value in step.outputs}
    pairs = [(makers.get(step.inputs[0].number, ""), step) for step in steps]
    return [
        (maker, step.layer)
        for maker, step in pairs
        if isinstance(norm := modules[step.layer], BatchNorm)
        and norm.running_mean is not None
        and isinstance(modules[maker], WeightedLayer)
        and uses[maker] == uses[step.layer] == readers[step.inputs[0].number] == 1
    ]


@torch.no_grad()
def absorb(layer: nn.Module, norm: nn.Module) -> None:
    """Fold a batch norm with fixed statistics into the layer before it. The new weights are computed in float64."""
    if not isinstance(layer, WeightedLayer) or not isinstance(norm, BatchNorm):
        raise TypeError(f"{type(norm).__name__} cannot be folded into {type(layer).__name__}")
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("the batch norm keeps no running statistics")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() if layer.bias is None else layer.bias.double() - norm.running_mean.double()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = shift * scale + (norm.bias.double() if norm.affine else 0)
    dtype, rows = layer.weight.dtype, (-1, *[1] * (layer.weight.dim() - 1))
    layer.weight = nn.Parameter((layer.weight.double() * scale.view(rows)).to(dtype))
    layer.bias = nn.Parameter(shift.to(dtype))


def convolutional_network(network: Network) -> Network:
    """Return a copy for inference in which each fully connected layer of the head is the equivalent convolution.

    This is Sermanet et al. (OverFeat, ICLR 2014, section 3.5) and `convolutionize` of Fleuret's lecture EE-559 7.2. The
    scores and the class maps are the same up to rounding. Auxiliary heads, which are used only in training, are left
    out. Raise a `UserError` if the head has no fully connected layer, or one that cannot become a convolution.
    """
    if not any(isinstance(layer, nn.Linear) for layer in network.head):
        raise UserError("the network's head has no fully connected layer, so it is already fully convolutional")
    copy = deepcopy(network)
    copy.sides = nn.ModuleDict()
    first = next(step for step in flow(copy) if step.layer.startswith("head"))
    try:
        copy.head = convolutional_head(copy.head, first.inputs[0].shape[1])
        flow(copy)  # fails if, for example, another layer than the flattening makes vectors
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the network's fully connected layers cannot become convolutions: {reason}") from None
    return copy.eval()


class FineNetwork(Network):
    """An inference network with maps that are `dilation` times finer than its head expects (see `fine_network`)."""

    def __init__(self, network: Network, dilation: int) -> None:
        super().__init__(network.size, network.w_in)
        self.features, self.head, self.dilation = network.features, network.head, dilation
        self.mean, self.std, self.standardise = network.mean, network.std, network.standardise

    def coarse_maps(self, images: PixelTensor) -> Float[Tensor, "N c h w"]:
        """Return the maps at the positions that the head expects."""
        self.check_size(images, exactly=True)
        return self.features(self.prepare(images))[:, :, :: self.dilation, :: self.dilation]

    def forward(self, images: PixelTensor) -> Float[Tensor, "N K"]:
        """Return the scores of images of the native size."""
        scores: Tensor = self.head(self.coarse_maps(images))
        return scores

    def embed(self, images: PixelTensor) -> Float[Tensor, "N D"]:
        """Return the penultimate vectors."""
        return penultimate_vector(self.head, self.coarse_maps(images))

    def dense(self, images: PixelTensor) -> Float[Tensor, "N K h w"]:
        """Return the class maps of larger images at the finer stride."""
        self.check_size(images, exactly=False)
        return slide_head(self.head, self.features(self.prepare(images)), self.dilation)


def fine_network(network: Network) -> FineNetwork:
    """Return a copy for inference with `dense` maps that are finer by a factor of the last pooling layer's stride.

    In the copy, the last pooling layer in `features` has stride 1, and later layers are dilated by its former stride.
    The result combines the offset poolings of Sermanet et al. (OverFeat, ICLR 2014, section 3.3) in one map: position
    (i, j) contains the scores of `network` with its last pooling layer shifted by i rows and j columns. `forward` and
    `embed` return the same results as those of `network`. Raise a `UserError` if `features` has no pooling layer with a
    stride of 2 or more, or if some data bypasses the last one.
    """
    if isinstance(network, FineNetwork):
        raise UserError("the network's class maps have already been made finer")
    steps = flow(network)
    pools = [step for step in steps if pool_stride(network, step) > 1]
    if not pools:
        raise UserError(
            "the network's features have no pooling layer of stride 2 or more, so its class maps cannot be made finer"
        )
    copy = FineNetwork(deepcopy(network), pool_stride(network, pools[-1])).eval()
    copy.set_submodule(pools[-1].layer, unstride_pool(pools[-1], network.get_submodule(pools[-1].layer)))
    for name in sorted(layers_behind(steps, pools[-1])):
        copy.set_submodule(name, dilate_layer(copy.get_submodule(name), copy.dilation))
    check_fine(copy, last_field(steps), pools[-1].layer)
    return copy


def pool_stride(network: Network, step: Step) -> int:
    """Return the stride of a pooling step in `features`, or 1 for any other step."""
    layer = network.get_submodule(step.layer)
    if not isinstance(layer, nn.MaxPool2d | nn.AvgPool2d) or not step.layer.startswith("features."):
        return 1
    return layer.stride if isinstance(layer.stride, int) else min(layer.stride)


def unstride_pool(step: Step, pool: nn.Module) -> nn.Module:
    """Return the pooling layer with stride 1, and with padding if its last window crosses the border (`ceil_mode`)."""
    kernel, stride, padding = (side_of(pool, name) for name in ("kernel_size", "stride", "padding"))
    over = stride * (step.outputs[0].shape[-1] - 1) + kernel - step.inputs[0].shape[-1] - 2 * padding
    if isinstance(pool, nn.MaxPool2d):
        return max_pool(kernel, (padding, padding + max(over, 0)))
    if over > 0:
        raise UserError(
            f"the last pooling layer, {step.layer!r}, averages windows that extend beyond the border, so the class "
            "maps cannot be made finer"
        )
    return nn.AvgPool2d(kernel, 1, padding)


def side_of(layer: nn.Module, name: str) -> int:
    """Return the single value of a layer's option. Raise a `UserError` if its values for height and width differ."""
    value = getattr(layer, name)
    lengths = {value} if isinstance(value, int) else set(value)
    if len(lengths) > 1:
        raise UserError(
            f"a pooling layer's {name} is {value}; for finer class maps, it must be equal for height and width"
        )
    return lengths.pop()


def max_pool(kernel: int, padding: tuple[int, int], dilation: int = 1) -> nn.Module:
    """Return a max-pooling layer with stride 1. `padding` is the padding before and after the map on each axis."""
    pool = nn.MaxPool2d(kernel, 1, dilation=dilation)
    # A separate layer pads, since MaxPool2d allows padding of at most half the kernel.
    return nn.Sequential(nn.ConstantPad2d(padding * 2, -torch.inf), pool) if any(padding) else pool


def layers_behind(steps: Sequence[Step], first: Step) -> set[str]:
    """Return the names of the layers in `features` that depend on a step's outputs."""
    reached, names = {value.number for value in first.outputs}, set[str]()
    for step in steps[steps.index(first) + 1 :]:
        if any(value.number in reached for value in step.inputs):
            reached |= {value.number for value in step.outputs}
            names |= {step.layer} if step.layer.startswith("features.") else set()
    return names


def dilate_layer(layer: nn.Module, factor: int) -> nn.Module:
    """Return a convolution or max-pooling layer with `factor` times its dilation, or any other layer unchanged."""
    if isinstance(layer, nn.MaxPool2d):
        kernel, padding, dilation = (side_of(layer, name) for name in ("kernel_size", "padding", "dilation"))
        return max_pool(kernel, (factor * padding, factor * padding), factor * dilation)
    if isinstance(layer, nn.Conv2d):
        layer.dilation = tuple(factor * d for d in layer.dilation)
        if not isinstance(layer.padding, str):  # padding "same" adapts to the dilation
            layer.padding = tuple(factor * p for p in layer.padding)
    return layer


def check_fine(copy: FineNetwork, before: Field, name: str) -> None:
    """Raise a `UserError` unless the copy's receptive fields are as large as `before` and lie closer together."""
    try:
        after = last_field(flow(copy))
    except (RuntimeError, ValueError):
        after = None
    if after != tuple(AxisField(axis.jump // copy.dilation, axis.low, axis.high) for axis in before):
        raise UserError(f"some data bypasses the last pooling layer, {name!r}, so the class maps cannot be made finer")


# The forms for inference that a model file can record. Their order does not change the result, so a file records only
# which of them a network has, and they are made in this order.
Form: TypeAlias = Literal["folded", "convolutional", "fine"]
FORMS: Mapping[Form, Callable[[Network], Network]] = MappingProxyType(
    {"folded": fold_batch_norms, "convolutional": convolutional_network, "fine": fine_network}
)
