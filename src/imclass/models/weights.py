"""Weights of other libraries in and out: what they expect of an image, their classes, and the way into our model file.

A file's tensors fill one of our networks through the names its entry has for that library (`foreign`). Blue-green-red
order and pixel values up to 255 do not outlive the import: the first convolution's channels are turned round, and mean
and standard deviation are put into the units of images in [0, 1].
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.core.model_file import ModelHeader
from imclass.core.preprocess import Preprocess
from imclass.core.text import listed, nearest
from imclass.models.classifier import NetworkClassifier, default_preprocess, networks, restored, row_of
from imclass.models.entry import Entry
from imclass.models.foreign import OWN, Fit, best_fit, given, outlined, taken
from imclass.models.readers import read_tensors

CLASSES_FILE = Path(__file__).with_name("imagenet_classes.txt")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of images in [0, 1]
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
# What differs from the network's size, its shorter side at 8/7 of that, bilinear, RGB, images in [0, 1] as they are.
INPUTS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": IMAGENET,
    "imagenet-232": IMAGENET | {"scale": 232},  # torchvision's recipes since 2021
    "imagenet-bicubic": IMAGENET | {"interpolation": "bicubic"},
    "inception": HALVES,  # also what torchvision's transform_input makes of ImageNet's mean and std
    "inception-v4": HALVES | {"scale": 341, "interpolation": "bicubic"},  # timm: floor(299 / 0.875)
    "inception-resnet-v2": HALVES | {"scale": 333, "interpolation": "bicubic"},  # timm: floor(299 / 0.8975)
    "caffe": {"mean": (104.0, 117.0, 123.0), "unit": 255, "channels": "bgr"},
    "cifar-imagenet-stats": IMAGENET | {"resize": "none"},
    "plain": {},
}


@dataclass(frozen=True)
class Inputs:
    """What weights expect of an image: (x - mean) / std of values from 0 to `unit`, in the order of `channels`."""

    preprocess: Preprocess
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    unit: Literal[1, 255] = 1

    def __post_init__(self) -> None:
        sizes = (1, self.preprocess.w_in)
        if len(self.mean) not in sizes or len(self.std) not in sizes:
            raise UserError(f"mean {self.mean} and std {self.std} must have 1 value, or {self.preprocess.w_in}")
        if not all(0 < s < math.inf for s in self.std):
            raise UserError(f"std is {self.std}; it must be positive numbers")
        if self.unit == 1 and max(map(abs, self.mean)) > 1:
            raise UserError(f'mean is {self.mean}, of pixel values up to 255; say so with "unit": 255')

    def buffers(self) -> dict[str, Tensor]:
        """Mean and std of RGB images in [0, 1], C 1 1: (255 x - m) / s is (x - m / 255) / (s / 255)."""
        backward = self.preprocess.channels == "bgr"
        made = {}
        for name, values in (("mean", self.mean), ("std", self.std)):
            tensor = torch.tensor(values, dtype=torch.float64).expand(self.preprocess.w_in) / self.unit
            made[name] = (tensor.flip(0) if backward else tensor).float().view(-1, 1, 1).contiguous()
        return made


@dataclass(frozen=True)
class Wanted:
    """What an import was told beside the file: whose names, which classes, which inputs. What is None is found out."""

    naming: str | None = None  # a library's
    classes: Sequence[str] | None = None
    usual: Mapping[int, Sequence[str]] = field(default_factory=dict)  # names by number of classes, beside ImageNet's
    inputs: str | Path | None = None  # a name of `INPUTS`, or a JSON file
    licence: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # other fields of the model file's header


def fitted(
    path: Path, network: str, library: str | None = None, plugins: Sequence[Path] = ()
) -> tuple[Fit, Mapping[str, Tensor]]:
    """How the tensors in a file fit a network, whether they do or not, and the tensors by the file's names."""
    entry: Entry = networks(plugins)[network]
    held = read_tensors(path)
    fit = best_fit(network, entry, held.tensors, library)
    return replace(fit, notes=(*held.notes, *fit.notes)), held.tensors


def imported(path: Path, network: str, wanted: Wanted, plugins: Sequence[Path] = ()) -> tuple[NetworkClassifier, Fit]:
    """The classifier that a file's tensors make of a network, and how they fitted; else a `UserError` with all."""
    entry: Entry = networks(plugins)[network]
    fit, held = fitted(path, network, wanted.naming, plugins)
    if not fit.loads:
        raise UserError(f"{path} was not loaded. {told(fit)}{elsewhere(fit, plugins)}")
    tensors = taken(fit, outlined(entry, fit.row, fit.classes, fit.w_in), held)
    names = class_names(fit, wanted)
    inputs, said = inputs_for(entry, fit, wanted.inputs)
    if wanted.inputs is None and fit.naming == OWN and {"mean", "std"} <= set(held):
        tensors |= {name: held[name].float() for name in ("mean", "std")}
        said = "mean and std are the file's own"
    else:
        tensors |= inputs.buffers()
    if inputs.preprocess.channels == "bgr":
        first = next(name for name, tensor in tensors.items() if tensor.dim() == 4 and tensor.shape[1] == 3)
        tensors[first] = tensors[first].flip(1)
    header = ModelHeader(
        network, to_json(fit.row), names, replace(inputs.preprocess, channels="rgb"), licence=wanted.licence,
        chosen=f"imported from {path.name} ({fit.naming}'s names), SHA-256 {file_digest(path)}", **wanted.facts,
    )  # fmt: skip
    return restored(tensors, header, path, plugins), replace(fit, notes=(*fit.notes, said))


def told(fit: Fit) -> str:
    """How a file fits, in a few lines."""
    of = len(fit.pairs) + len(fit.missing) + len(fit.wrong)
    lines = [f"{fit.network} under {fit.naming}'s names: {len(fit.pairs):,} of {of:,} tensors fit"]
    for what, names in (("missing", fit.missing), ("extra", fit.extra), ("wrong", fit.wrong)):
        if names:
            lines.append(f"  {len(names):,} {what}: {listed(names)}")
    return "\n".join([*lines, *(f"  {note}" for note in fit.notes)])


def elsewhere(fit: Fit, plugins: Sequence[Path]) -> str:
    """Other variants of the network, where this one has no library's names, and nothing fits."""
    entries: dict[str, Entry] = networks(plugins).entries
    if fit.pairs or entries[fit.network].foreign:
        return ""
    others = [name for name, entry in entries.items() if name.startswith(f"{fit.network}-") and entry.foreign]
    return f"\n  {fit.network} has no other library's names; try --as {' or '.join(others)}" if others else ""


def class_names(fit: Fit, wanted: Wanted) -> tuple[str, ...]:
    """The names of the file's classes: those given, or the usual ones of so many; a wrong number is a `UserError`."""
    classes = wanted.classes
    if classes is None:
        classes = imagenet_classes() if fit.classes == 1000 else wanted.usual.get(fit.classes)
    if classes is None or len(classes) != fit.classes:
        was = "give their names with --classes FILE" if classes is None else f"--classes names {len(classes):,}"
        raise UserError(
            f"the file has {fit.classes:,} classes, and {was}: a JSON list, or one name a line, in the order of the "
            "file's scores"
        )
    return tuple(classes)


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 classes of ILSVRC 2012 in their usual order: WordNet id, a space, the first of its words."""
    return tuple(CLASSES_FILE.read_text().splitlines())


def inputs_for(entry: Entry, fit: Fit, chosen: str | Path | None) -> tuple[Inputs, str]:
    """The inputs that are chosen, or those usual for such weights; and a note that says which."""
    own = default_preprocess(entry, getattr(fit.row, "size", entry.size))
    own = replace(own, colour="grey" if fit.w_in == 1 else "rgb")
    name = usual(entry, fit) if chosen is None else str(chosen)
    if name in INPUTS:
        record = INPUTS[name]
    elif Path(name).is_file():
        record = json_object(Path(name))
    else:
        raise UserError(f"--preprocess {name} is no file and no known name{nearest(name, INPUTS)}")
    said = f"images are shown as by --preprocess {name}" + ("; give another if need be" if chosen is None else "")
    return inputs_from(record, own, f"--preprocess {name}"), said


def usual(entry: Entry, fit: Fit) -> str:
    """The inputs that a library's weights usually want."""
    if fit.w_in != 3 or entry.w_in != 3:
        return "plain"
    if entry.size == 32:
        return "cifar-imagenet-stats"
    if fit.naming == "caffe":
        return "caffe"
    return "inception" if entry.size == 299 else "imagenet"


def inputs_from(record: Mapping[str, Any], own: Preprocess, where: str) -> Inputs:
    """Inputs from the fields of `Preprocess` with mean, std and unit beside them; `own` is what is not said."""
    values = {name: record[name] for name in ("mean", "std", "unit") if name in record}
    rest = {name: value for name, value in record.items() if name not in values}
    if "size" in rest and rest["size"] != own.size:
        raise UserError(f"{where}: size is {rest['size']}, and the network takes {own.size}")
    try:
        return from_json(Inputs, {**values, "preprocess": {**to_json(own), **rest}})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def json_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; anything else is a `UserError`."""
    try:
        record = json.loads(path.read_bytes())
        assert isinstance(record, dict)
        return record
    except (OSError, ValueError, AssertionError, RecursionError):
        example = '{"mean": [0.5], "std": [0.5]}'
        raise UserError(f"--preprocess {path} must be a JSON object, such as {example}") from None


def exported(found: NetworkClassifier, library: str, plugins: Sequence[Path] = ()) -> dict[str, Tensor]:
    """The network's tensors as `library` names and shapes them; one that it does not have is a `UserError`."""
    entry: Entry = networks(plugins)[found.name]
    if library not in entry.foreign:
        raise UserError(f"--format {library}: that library has no {found.name}{nearest(library, entry.foreign)}")
    foreign, row = entry.foreign[library], row_of(entry, found.row, found.name)
    theirs = row_of(entry, dict(foreign.row), found.name)
    ours, wanted = (outlined(entry, r, len(found.classes), found.preprocess.w_in) for r in (row, theirs))
    forms = {name: t.shape for name, t in wanted.items()}
    differ = [k for k, v in foreign.row.items() if to_json(row)[k] != to_json(theirs)[k] and k != "aux"]
    if differ or any(t.shape != forms.get(name) for name, t in ours.items()):
        named = [k for k, v in to_json(theirs).items() if to_json(row)[k] != v]
        raise UserError(
            f"{library}'s {foreign.name} is another network than this {found.name}: they differ in {', '.join(named)}"
        )
    return given(found.network, library, foreign)
