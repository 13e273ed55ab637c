"""Cost and receptive field of each layer of a network, derived from shapes alone on the "meta" device.

Position i of a map sees the pixels from jump * i + low to jump * i + high. After a window of k positions spaced d
apart, with stride s and padding p, these values are jump' = jump * s, low' = low - jump * p and
high' = high + jump * ((k - 1) * d - p). A sum or a concatenation of maps has the lowest `low` and the highest `high` of
its inputs. (After Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019,
doi:10.23915/distill.00021.)
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
# The argument positions of the stride, which the padding follows, and of the dilation.
WINDOWS: Mapping[str, tuple[int, int | None]] = {
    "convolution": (3, 5),
    "max_pool2d_with_indices": (2, 4),
    "avg_pool2d": (2, None),
    "avg_pool3d": (2, None),
}
PRODUCTS: Mapping[str, int] = {"addmm": 1, "mm": 0, "bmm": 0}  # the position of the left matrix among the arguments


@dataclass(frozen=True)
class AxisField:
    """The receptive field along one axis: position i sees the pixels from jump * i + low to jump * i + high."""

    jump: int = 1
    low: int = 0
    high: int = 0

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def after_window(self, kernel: int, stride: int, padding: int, dilation: int) -> "AxisField":
        """Return the receptive field after a sliding window."""
        reach = dilation * (kernel - 1)
        return AxisField(self.jump * stride, self.low - self.jump * padding, self.high + self.jump * (reach - padding))

    def join(self, other: "AxisField") -> "AxisField":
        """Return the receptive field of a sum or concatenation of this map and another."""
        return AxisField(max(self.jump, other.jump), min(self.low, other.low), max(self.high, other.high))


Field = tuple[AxisField, AxisField]  # along height and width


@dataclass(frozen=True)
class Layer:
    """One call of a layer. Pairs contain the height and the width, in this order."""

    name: str
    kind: str
    input: tuple[int, ...]  # the shape: C H W, or D for a vector
    output: tuple[int, ...]
    kernel: tuple[int, int] | None
    parameters: int
    macs: int  # multiply-adds of convolutions and linear layers for one image, not counting biases
    activations: int  # output elements
    receptive_field: tuple[int, int]  # of one output position, in pixels of the image
    stride: tuple[int, int]  # between two output positions, in pixels of the image


@dataclass(frozen=True)
class Geometry:
    """The layers of a network in order, and totals that exclude auxiliary heads.

    `receptive_field` and `stride` are those of the last maps before the head. `activations` counts only the outputs of
    convolutions and linear layers. Radosavovic et al. (CVPR 2020, arXiv:2003.13678) count only those of convolutions.
    """

    layers: tuple[Layer, ...]
    parameters: int
    macs: int
    activations: int
    receptive_field: int
    stride: int


def outline(build: Callable[[Any, int, int], Network], row: Any, classes: int, w_in: int) -> Geometry:
    """Return the geometry of the network that `build` returns, without allocating its weights."""
    with torch.device("meta"):
        network = build(row, classes, w_in)
    return measure(network)


def measure(network: Network) -> Geometry:
    """Return a network's geometry at its native size.

    Raise a `ValueError` if the effect of an operation on the receptive field is not known.
    """
    steps = flow(network)
    fields = receptive_fields(steps)
    layers = tuple(layers_of(network, steps, fields))
    last = last_field(steps)
    in_sides = sum(p.numel() for p in network.sides.parameters())
    return Geometry(
        layers,
        parameters=sum(p.numel() for p in network.parameters()) - in_sides,
        macs=sum(layer.macs for layer in layers),
        activations=sum(layer.activations for layer in layers if layer.macs),
        receptive_field=max(axis.size for axis in last),
        stride=max(axis.jump for axis in last),
    )


def last_field(steps: Sequence[Step]) -> Field:
    """Return the receptive field of the last maps before the head."""
    *_, last = (i for i, step in enumerate(steps) if step.layer.startswith("features"))
    return receptive_fields(steps[: last + 1])[steps[last].outputs[0].number]


def receptive_fields(steps: Sequence[Step]) -> dict[int | None, Field]:
    """Return the receptive fields of all values, keyed by value number. The images have number 0."""
    fields: dict[int | None, Field] = {0: (AxisField(), AxisField())}
    for step in steps:
        field = field_of(step, join_fields([fields[value.number] for value in step.inputs]))
        fields |= {output.number: field for output in step.outputs}
    return fields


def join_fields(fields: Sequence[Field]) -> Field:
    """Return the receptive field of a sum or concatenation of maps."""
    height, width = fields[0]
    for other in fields[1:]:
        height, width = height.join(other[0]), width.join(other[1])
    return height, width


def field_of(step: Step, before: Field) -> Field:
    """Return the receptive field of an operation's output. `before` is the joint receptive field of its inputs."""
    shape, name = step.inputs[0].shape, step.operation
    if name in WINDOWS:
        return through_window(step, before)
    if name == "slice":
        return through_slice(step, before)
    if name == "adaptive_max_pool2d":
        return through_adaptive_pool(step, before)
    if name == "constant_pad_nd":
        left, _, top, _ = (*step.arguments[1], 0, 0, 0)[:4]
        return before[0].after_window(1, 1, top, 1), before[1].after_window(1, 1, left, 1)
    out = step.outputs[0].shape
    # Vectors have no positions, and an operation that keeps height and width works position by position.
    if len(shape) < 4 or (len(out) >= 4 and out[-2:] == broadcast_size(step.inputs)):
        return before
    if name in RESHAPES and (len(out) < 4 or out[-2:] == (1, 1)):  # the output sees all positions of the maps
        height, width = (axis.after_window(n, 1, 0, 1) for axis, n in zip(before, shape[-2:], strict=True))
        return height, width
    raise ValueError(f"the receptive field after {name!r}, {shape} to {out}, in {step.layer!r} is not known")


def broadcast_size(values: Sequence[Value]) -> tuple[int, int]:
    """Return the height and width of a sum of maps, some of which may be broadcast."""
    shapes = [value.shape for value in values if len(value.shape) >= 4]
    return max(shape[-2] for shape in shapes), max(shape[-1] for shape in shapes)


def through_window(step: Step, before: Field) -> Field:
    """Return the receptive field after a convolution or pooling step. `before` is that of the step's input."""
    kernel = kernel_of(step)
    at, spread = WINDOWS[step.operation]
    stride = height_and_width(step.arguments[at : at + 1], kernel)
    padding = height_and_width(step.arguments[at + 1 : at + 2], (0, 0))
    dilation = height_and_width(step.arguments[spread : spread + 1], (1, 1)) if spread else (1, 1)
    height, width = (before[i].after_window(kernel[i], stride[i], padding[i], dilation[i]) for i in (0, 1))
    return height, width


def through_adaptive_pool(step: Step, before: Field) -> Field:
    """Return the receptive field after pooling a positions to n, as windows with a stride of floor(a / n).

    The windows are as long as it takes to cover all positions.
    """
    pairs = zip(step.inputs[0].shape[-2:], step.outputs[0].shape[-2:], strict=True)
    windows = [(a - (n - 1) * (a // n), a // n) for a, n in pairs]  # length and stride
    height, width = (axis.after_window(*window, 0, 1) for axis, window in zip(before, windows, strict=True))
    return height, width


def kernel_of(step: Step) -> tuple[int, int]:
    """Return the height and width of the window of a convolution or pooling step."""
    argument = step.arguments[1]
    return height_and_width([argument.shape if isinstance(argument, Value) else argument], (1, 1))


def height_and_width(arguments: Sequence[Any], default: tuple[int, int]) -> tuple[int, int]:
    """Return an operation's argument as a height and a width, or `default` if the argument is missing or empty.

    `arguments` contains the argument, or nothing if the operation was called without it. A single number stands for
    both height and width.
    """
    values = tuple(arguments[0]) if arguments else ()
    return (values[-2:] if len(values) > 1 else values * 2) or default


def through_slice(step: Step, before: Field) -> Field:
    """Return the receptive field after a slice. Only slices of rows or columns change it."""
    shape = step.inputs[0].shape
    arguments = dict(zip(("axis", "start", "end", "step"), step.arguments[1:], strict=False))
    axis = arguments.get("axis", 0) % len(shape)
    start = arguments.get("start") or 0
    begin = min(start + shape[axis] if start < 0 else start, shape[axis])
    along = axis - len(shape) + 2  # 0 is height, 1 is width
    fields = list(before)
    if along >= 0:
        # A slice is a window of one position, and rows left out at the start are negative padding.
        fields[along] = fields[along].after_window(1, arguments.get("step", 1), -begin, 1)
    return fields[0], fields[1]


def layers_of(network: Network, steps: Sequence[Step], fields: Mapping[int | None, Field]) -> list[Layer]:
    """Return a record of each call of a layer.

    A layer is a module that has no children, or one that performs multiply-adds itself.
    """
    modules = dict(network.named_modules())
    counted: set[str] = set()  # parameters count only at a layer's first call
    layers = []
    for (name, _), group in groupby(sorted(steps, key=lambda s: s.call), key=lambda s: (s.layer, s.call)):
        operations, module = list(group), modules[name]
        if any(True for _ in module.children()) and not any(map(macs_of, operations)):
            continue
        parameters = 0 if name in counted else sum(p.numel() for p in module.parameters(recurse=False))
        layers.append(layer_of(name, module, parameters, operations, fields))
        counted.add(name)
    return layers


def layer_of(
    name: str, module: nn.Module, parameters: int, steps: Sequence[Step], fields: Mapping[int | None, Field]
) -> Layer:
    """Return the record of one call of a layer. `steps` contains the call's steps."""
    before, after = steps[0].inputs[0], steps[-1].outputs[0]
    height, width = fields[after.number]
    kernels = [kernel_of(step) for step in steps if step.operation in WINDOWS]
    return Layer(
        name,
        type(module).__name__,
        before.shape[1:],
        after.shape[1:],
        max(kernels, default=None),
        parameters,
        macs=sum(map(macs_of, steps)),
        activations=prod(after.shape[1:]),
        receptive_field=(height.size, width.size),
        stride=(height.jump, width.jump),
    )


def macs_of(step: Step) -> int:
    """Return the number of multiply-adds in one operation.

    For each output value, a convolution performs one multiply-add per weight of a filter, and a matrix product performs
    one per column of the left matrix. Other operations count as 0.
    """
    size = prod(step.outputs[0].shape)
    if step.operation == "convolution":
        return size * prod(step.arguments[1].shape[1:])
    if step.operation in PRODUCTS:
        return size * step.arguments[PRODUCTS[step.operation]].shape[-1]
    return 0
