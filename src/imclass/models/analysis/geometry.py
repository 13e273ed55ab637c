"""What each layer of a network costs and which pixels it sees, found on the "meta" device: nothing is computed.

Position i of a map sees the pixels from jump * i + low to jump * i + high. A window of k positions, d apart, of stride
s and padding p makes of that: jump' = jump * s, low' = low - jump * p, high' = high + jump * ((k - 1) * d - p). Where
maps meet, in a sum or a concatenation, the lowest and the highest of them count. (After Araujo, Norris and Sim,
"Computing receptive fields of convolutional neural networks", Distill 2019, doi:10.23915/distill.00021.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import torch
from torch import nn

from imclass.models.analysis.flow import Step, Value, flow
from imclass.models.network import Network

RESHAPES = ("view", "_unsafe_view", "reshape", "_reshape_copy", "mean", "sum", "amax", "flatten")
WINDOWS: Mapping[str, tuple[int, int | None]] = {  # where their arguments are: the stride (padding follows), dilation
    "convolution": (3, 5),
    "max_pool2d_with_indices": (2, 4),
    "avg_pool2d": (2, None),
    "avg_pool3d": (2, None),
}
PRODUCTS: Mapping[str, int] = {"addmm": 1, "mm": 0, "bmm": 0}  # where the left matrix is


@dataclass(frozen=True)
class AxisField:
    """Along one axis, position i sees the pixels from jump * i + low to jump * i + high."""

    jump: int = 1
    low: int = 0
    high: int = 0

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> "AxisField":
        """Seen through a window over positions."""
        reach = dilation * (kernel - 1)
        return AxisField(self.jump * stride, self.low - self.jump * padding, self.high + self.jump * (reach - padding))

    def join(self, other: "AxisField") -> "AxisField":
        """Seen where two maps meet."""
        return AxisField(max(self.jump, other.jump), min(self.low, other.low), max(self.high, other.high))


Field = tuple[AxisField, AxisField]  # along height and width


@dataclass(frozen=True)
class Layer:
    """One layer at work. Shapes are C H W, or D of a vector; pairs are height and width, in pixels of the image.

    `receptive_field` is of one output position, `stride` the pixels between two of them. `macs` are multiply-adds of
    one image: those of convolutions and fully connected layers, biases not counted. `activations` are output elements.
    """

    name: str
    kind: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    kernel: tuple[int, int] | None
    parameters: int
    macs: int
    activations: int
    receptive_field: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """A network's layers in order, and what they come to; side outputs take no part.

    `receptive_field` and `stride` are of the last maps, before the head. `activations` are the outputs of convolutions
    and fully connected layers alone (as Radosavovic et al., CVPR 2020, arXiv:2003.13678, count those of convolutions).
    """

    layers: tuple[Layer, ...]
    parameters: int
    macs: int
    activations: int
    receptive_field: int
    stride: int


def outline(build: Callable[[Any, int, int], Network], row: Any, classes: int, w_in: int) -> Geometry:
    """Return the geometry of the network that `build` makes, without memory for its weights."""
    with torch.device("meta"):
        network = build(row, classes, w_in)
    return measure(network)


def measure(network: Network) -> Geometry:
    """The geometry of a network at its native size; a ValueError names an operation that is not known here."""
    steps = flow(network)
    fields = receptive_fields(steps)
    layers = tuple(layers_of(network, steps, fields))
    last = last_field(steps)
    beside = sum(p.numel() for p in network.sides.parameters())
    return Geometry(
        layers,
        parameters=sum(p.numel() for p in network.parameters()) - beside,
        macs=sum(layer.macs for layer in layers),
        activations=sum(layer.activations for layer in layers if layer.macs),
        receptive_field=max(axis.size for axis in last),
        stride=max(axis.jump for axis in last),
    )


def last_field(steps: Sequence[Step]) -> Field:
    """What a position of the last maps sees, before the head."""
    *_, last = (i for i, step in enumerate(steps) if step.layer.startswith("features"))
    return receptive_fields(steps[: last + 1])[steps[last].outputs[0].number]


def receptive_fields(steps: Sequence[Step]) -> dict[int | None, Field]:
    """What each value sees of the images, which are value number 0."""
    fields: dict[int | None, Field] = {0: (AxisField(), AxisField())}
    for step in steps:
        seen = field_of(step, join_fields([fields[value.number] for value in step.inputs]))
        fields |= {output.number: seen for output in step.outputs}
    return fields


def join_fields(fields: Sequence[Field]) -> Field:
    """The field where maps meet."""
    height, width = fields[0]
    for other in fields[1:]:
        height, width = height.join(other[0]), width.join(other[1])
    return height, width


def field_of(step: Step, before: Field) -> Field:
    """What an operation's output sees, when its inputs together see `before`."""
    shape, name = step.inputs[0].shape, step.operation
    if name in WINDOWS:
        return through_window(step, before)
    if name == "slice":
        return through_slice(step, before)
    if name == "constant_pad_nd":
        left, _, top, _ = (*step.arguments[1], 0, 0, 0)[:4]
        return before[0].window(1, 1, top, 1), before[1].window(1, 1, left, 1)
    out = step.outputs[0].shape
    if len(shape) < 4 or (len(out) >= 4 and out[-2:] == broadcast_size(step.inputs)):
        return before
    if name in RESHAPES and (len(out) < 4 or out[-2:] == (1, 1)):  # everything is seen at once
        height, width = (axis.window(n, 1, 0, 1) for axis, n in zip(before, shape[-2:], strict=True))
        return height, width
    raise ValueError(f"the receptive field behind {name!r}, {shape} to {out}, in {step.layer!r} is not known")


def broadcast_size(values: Sequence[Value]) -> tuple[int, int]:
    """The height and width of maps that meet."""
    shapes = [value.shape for value in values if len(value.shape) >= 4]
    return max(shape[-2] for shape in shapes), max(shape[-1] for shape in shapes)


def through_window(step: Step, before: Field) -> Field:
    """The field behind a convolution or a pooling."""
    kernel = kernel_of(step)
    at, spread = WINDOWS[step.operation]
    stride = height_and_width(step.arguments[at : at + 1], kernel)
    padding = height_and_width(step.arguments[at + 1 : at + 2], (0, 0))
    dilation = height_and_width(step.arguments[spread : spread + 1], (1, 1)) if spread else (1, 1)
    height, width = (before[i].window(kernel[i], stride[i], padding[i], dilation[i]) for i in (0, 1))
    return height, width


def kernel_of(step: Step) -> tuple[int, int]:
    """Height and width of a window."""
    argument = step.arguments[1]
    return height_and_width([argument.shape if isinstance(argument, Value) else argument], (1, 1))


def height_and_width(given: Sequence[Any], otherwise: tuple[int, int]) -> tuple[int, int]:
    """Height and width of an argument that may be absent or empty, and be one number for both."""
    values = tuple(given[0]) if given else ()
    return (values[-2:] if len(values) > 1 else values * 2) or otherwise


def through_slice(step: Step, before: Field) -> Field:
    """The field behind every `step`-th row or column from `start` on; of other axes it is unchanged."""
    shape = step.inputs[0].shape
    given = dict(zip(("axis", "start", "end", "step"), step.arguments[1:], strict=False))
    axis, start = given.get("axis", 0) % len(shape), given.get("start") or 0
    begin = min(start + shape[axis] if start < 0 else start, shape[axis])
    along = axis - len(shape) + 2  # 0 is height, 1 is width
    fields = list(before)
    if along >= 0:
        fields[along] = fields[along].window(1, given.get("step", 1), -begin, 1)
    return fields[0], fields[1]


def layers_of(network: Network, steps: Sequence[Step], fields: Mapping[int | None, Field]) -> list[Layer]:
    """A record for each call of a layer: a module without children, or one that itself multiplies."""
    modules, counted, layers = dict(network.named_modules()), set[str](), []
    for (name, _), group in groupby(sorted(steps, key=lambda s: s.call), key=lambda s: (s.layer, s.call)):
        work, module = list(group), modules[name]
        if any(True for _ in module.children()) and not any(map(macs_of, work)):
            continue
        parameters = 0 if name in counted else sum(p.numel() for p in module.parameters(recurse=False))
        layers.append(layer_of(name, module, parameters, work, fields))
        counted.add(name)
    return layers


def layer_of(
    name: str, module: nn.Module, parameters: int, work: Sequence[Step], fields: Mapping[int | None, Field]
) -> Layer:
    """The record of one call of a layer, from its own steps."""
    before, after = work[0].inputs[0], work[-1].outputs[0]
    height, width = fields[after.number]
    kernels = [kernel_of(step) for step in work if step.operation in WINDOWS]
    return Layer(
        name,
        type(module).__name__,
        before.shape[1:],
        after.shape[1:],
        max(kernels, default=None),
        parameters,
        macs=sum(map(macs_of, work)),
        activations=prod(after.shape[1:]),
        receptive_field=(height.size, width.size),
        stride=(height.jump, width.jump),
    )


def macs_of(step: Step) -> int:
    """Multiply-adds of one operation: each output of a convolution takes one filter, each of a product one row."""
    size = prod(step.outputs[0].shape)
    if step.operation == "convolution":
        return size * prod(step.arguments[1].shape[1:])
    if step.operation in PRODUCTS:
        return size * step.arguments[PRODUCTS[step.operation]].shape[-1]
    return 0
