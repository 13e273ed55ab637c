"""A reader of Caffe's weights: the protocol buffer of a network, of which only names, shapes and values are read.

The numbers of the fields are those of Caffe's `caffe.proto`. Files have one of three forms, by age: `layer` holds
LayerParameter, `layers` holds V1LayerParameter, and that may hold a V0LayerParameter with the name and the weights.
"""

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

WireField: TypeAlias = tuple[int, int | memoryview]  # a field's number, and its value or, if it has a length, its bytes

LAYER_FIELDS = {100: (1, 7), 2: (4, 6)}  # of a network: the fields of a layer with its name and its blobs
V1_LAYER, V0_LAYER, V0_FIELDS = 2, 1, (1, 50)
OLD_SHAPE, VALUES, SHAPE, DOUBLE_VALUES = (1, 2, 3, 4), 5, 7, 8  # fields of a blob
LEAVES = ("weight", "bias")


def caffe_tensors(content: memoryview) -> dict[str, Tensor]:
    """Return the weights in a .caffemodel file: "conv1.weight" and "conv1.bias" for the blobs of the layer "conv1".

    A "/" in a layer's name becomes ".". Raise a `ValueError` if the content is damaged or holds no weights.
    """
    tensors = {}
    for number, layer in read_fields(content):
        if number in LAYER_FIELDS and isinstance(layer, memoryview):
            name, blobs = read_layer(layer, LAYER_FIELDS[number])
            old = [v for n, v in read_fields(layer) if (number, n) == (V1_LAYER, V0_LAYER)]
            if not blobs and old and isinstance(old[0], memoryview):
                name, blobs = read_layer(old[0], V0_FIELDS)
            for i, blob in enumerate(blobs):
                leaf = LEAVES[i] if i < len(LEAVES) else str(i)
                tensors[f"{name.replace('/', '.')}.{leaf}"] = read_blob(blob, is_weight=i == 0)
    if not tensors:
        raise ValueError("it holds no layers with weights")
    return tensors


def read_layer(layer: memoryview, numbers: tuple[int, int]) -> tuple[str, list[memoryview]]:
    """Return a layer's name and blobs. `numbers` are those of the two fields."""
    found: Mapping[int, list[memoryview]] = {number: [] for number in numbers}
    for number, value in read_fields(layer):
        if number in found and isinstance(value, memoryview):
            found[number].append(value)
    names, blobs = (found[number] for number in numbers)
    return bytes(names[-1]).decode() if names else "", blobs


def read_blob(blob: memoryview, is_weight: bool) -> Shaped[Tensor, "..."]:
    """Return the values of a blob in its shape.

    Old blobs have four dimensions, of which a bias uses the last, and a fully connected layer's weight the last two.
    """
    fields = list(read_fields(blob))
    sizes = {number: value for number, value in fields if isinstance(value, int)}
    shape = [size for number, value in fields if number == SHAPE for size in shape_sizes(value)]
    if not shape:
        old = [sizes.get(number, 1) for number in OLD_SHAPE]
        first = 3 if not is_weight else 2 if old[:2] == [1, 1] else 0
        shape = old[first:]
    kinds = {VALUES: "<f4", DOUBLE_VALUES: "<f8"}
    parts = [np.frombuffer(v, kinds[n]) for n, v in fields if n in kinds and isinstance(v, memoryview)]
    values = np.concatenate(parts) if parts else np.empty(0, np.float32)
    if math.prod(shape) != values.size:
        raise ValueError(f"it declares {' x '.join(map(str, shape))} values for a layer but has {values.size:,}")
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False)).reshape(shape)


def shape_sizes(shape: int | memoryview) -> Iterator[int]:
    """Yield the sizes in a blob's shape, which may be packed in one field or have a field each."""
    if isinstance(shape, int):
        raise ValueError("a shape is a number")
    for number, value in read_fields(shape):
        if number == 1 and isinstance(value, int):
            yield value
        elif number == 1 and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                size, at = read_number(value, at)
                yield size


def read_fields(message: memoryview) -> Iterator[WireField]:
    """Yield the fields of a protocol buffer's message. Raise a `ValueError` if it is damaged."""
    at = 0
    while at < len(message):
        key, at = read_number(message, at)
        number, kind = key >> 3, key & 7
        if number == 0 or kind not in (0, 1, 2, 5):
            raise ValueError("it is not a protocol buffer")
        if kind == 0:
            value, at = read_number(message, at)
            yield number, value
            continue
        length, at = (8 if kind == 1 else 4, at) if kind != 2 else read_number(message, at)
        if at + length > len(message):
            raise ValueError("it ends in the middle of a value")
        yield number, message[at : at + length]
        at += length


def read_number(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number of variable length (7 bits a byte, lowest first) at a position, and the position behind it."""
    value = 0
    for i, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise ValueError("it ends in the middle of a number")
