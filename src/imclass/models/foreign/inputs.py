"""Inputs that other libraries' weights expect: mean, std and preprocessing, chosen by name or read from a JSON file."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.core.text import suggestion
from imclass.models.classifier import default_preprocess
from imclass.models.entry import NetworkEntry, native_size
from imclass.models.foreign.matching import TensorMatch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of images in [0, 1]
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
# Differences from the defaults: native size, shorter side at 8/7 of it, bilinear, RGB, values in [0, 1].
INPUTS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": IMAGENET,
    "imagenet-232": IMAGENET | {"scale": 232},  # torchvision's recipes since 2021
    "imagenet-bicubic": IMAGENET | {"interpolation": "bicubic"},
    "inception": HALVES,  # also the result of torchvision's transform_input on ImageNet's mean and std
    "inception-v4": HALVES | {"scale": 341, "interpolation": "bicubic"},  # timm: floor(299 / 0.875)
    "inception-resnet-v2": HALVES | {"scale": 333, "interpolation": "bicubic"},  # timm: floor(299 / 0.8975)
    "caffe": {"mean": (104.0, 117.0, 123.0), "unit": 255, "channels": "bgr"},
    "caffe-vgg": {"mean": (103.939, 116.779, 123.68), "unit": 255, "channels": "bgr"},  # VGG's released networks
    "cifar-imagenet-stats": IMAGENET | {"resize": "squash"},  # as in our recipes; images of that size stay unchanged
    "plain": {},
}


@dataclass(frozen=True)
class Inputs:
    """A description of the inputs that weights expect: (x - mean) / std, for pixel values x from 0 to `unit`.

    `preprocess.channels` is the order of the channels. If `standardise` is true, each image is normalised by the mean
    and the standard deviation of its pixels instead.
    """

    preprocess: Preprocess
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    unit: Literal[1, 255] = 1
    standardise: bool = False

    def __post_init__(self) -> None:
        sizes = (1, self.preprocess.w_in)
        if len(self.mean) not in (*sizes, self.pixels) or len(self.std) not in sizes:
            raise UserError(
                f"mean {self.mean[:5]} and std {self.std[:5]} must have 1 value each, or {self.preprocess.w_in}"
            )
        if not all(0 < s < math.inf for s in self.std):
            raise UserError(f"std is {self.std}; all of its values must be positive")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if self.unit == 1 and max(map(abs, values)) > 1:
                raise UserError(f'{name} is {values[:3]}, for pixel values up to 255. Add "unit": 255')

    @property
    def pixels(self) -> int:
        """Return the number of values in a mean image."""
        return self.preprocess.w_in * self.preprocess.size**2

    def buffers(self) -> dict[str, Tensor]:
        """Return the network's buffers `mean` and `std` for RGB images in [0, 1].

        Their shape is C 1 1, or C H W for a mean image. Values for pixels up to 255 are divided by 255, since
        (255 x - m) / s = (x - m / 255) / (s / 255).
        """
        backward = self.preprocess.channels == "bgr"
        buffers = {}
        for name, values in (("mean", self.mean), ("std", self.std)):
            tensor = torch.tensor(values, dtype=torch.float64) / self.unit
            side = self.preprocess.size if len(values) == self.pixels else 1
            tensor = tensor.expand(self.preprocess.w_in) if len(values) == 1 else tensor
            tensor = tensor.view(self.preprocess.w_in, side, side)
            buffers[name] = (tensor.flip(0) if backward else tensor).float().contiguous()
        return buffers


def inputs_for(
    entry: NetworkEntry, match: TensorMatch, chosen: str | Path | None, recorded: Mapping[str, Any] | None = None
) -> tuple[Inputs, str]:
    """Return the inputs that the weights expect, and a note that describes their preprocessing.

    Chosen inputs take precedence over recorded ones, and recorded ones over the library's default.
    """
    default = default_preprocess(entry, native_size(match.row, match.network))
    default = replace(default, colour="grey" if match.w_in == 1 else "rgb")
    if chosen is None and recorded is not None:
        return inputs_from(recorded, default, "the export's record"), "preprocessing is the exported model's"
    name = default_inputs(entry, match) if chosen is None else str(chosen)
    if name in INPUTS:
        record = INPUTS[name]
    elif Path(name).is_file():
        record = read_json_object(Path(name))
    else:
        raise UserError(f"--preprocess {name} is neither a file nor a known name{suggestion(name, INPUTS)}")
    note = f"preprocessing is --preprocess {name}"
    if chosen is None:
        note += ", the default for such weights; pass another if these weights need it"
    return inputs_from(record, default, f"--preprocess {name}"), note


def default_inputs(entry: NetworkEntry, match: TensorMatch) -> str:
    """Return the name of the inputs that a library's weights normally expect."""
    if match.w_in != 3 or entry.w_in != 3:
        return "plain"
    if match.naming in entry.foreign and entry.foreign[match.naming].inputs:
        return entry.foreign[match.naming].inputs
    size = native_size(entry.row, match.network)
    if size == 32:
        return "cifar-imagenet-stats"
    if match.naming == "caffe":
        return "caffe"
    return "inception" if size == 299 else "imagenet"


def inputs_from(record: Mapping[str, Any], default: Preprocess, where: str) -> Inputs:
    """Make inputs from a record, which may contain mean, std, unit, standardise and fields of `Preprocess`.

    Fields of `Preprocess` that the record lacks are taken from `default`. `where` identifies the record in error
    messages.
    """
    values = {name: record[name] for name in ("mean", "std", "unit", "standardise") if name in record}
    rest = {name: value for name, value in record.items() if name not in values}
    if "size" in rest and rest["size"] != default.size:
        raise UserError(f"{where}: size is {rest['size']}, but the network expects {default.size}")
    try:
        return from_json(Inputs, {**values, "preprocess": {**to_json(default), **rest}})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def read_json_object(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file. Raise a `UserError` if the file contains anything else."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        example = '{"mean": [0.5], "std": [0.5]}'
        raise UserError(f"--preprocess {path} must be a JSON object, such as {example}")
    return record


def reverse_channels(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reverse the input channels of the first convolution, for images with the opposite channel order.

    Raise a `UserError` if the network does not begin with a convolution of three input channels.
    """
    name, first = next(((n, t) for n, t in tensors.items() if t.dim() > 1), ("", torch.zeros(0)))
    if first.dim() != 4 or first.shape[1] != 3:
        raise UserError(
            "the network does not begin with a convolution of 3 input channels, so its channel order must be rgb"
        )
    return {**tensors, name: first.flip(1).contiguous()}
