"""The format of model files: safetensors with a JSON header, protected by a digest."""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from jaxtyping import UInt64
from torch import Tensor

from imclass.core.codec import NO_KINDS, Kinds, from_json, to_json
from imclass.core.config import SPLIT_KINDS, Cut
from imclass.core.errors import UserError
from imclass.core.files import write_file
from imclass.core.targets import Link
from imclass.core.text import main_measure

MODEL_FORMAT = 2
Body = TypeVar("Body")
MAGIC_KEY = "imclass"
TRAINED_ON = "trained_on"  # the tensor with 64 bits of SHA-256 for each image that a model was trained on


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over (name, dtype, shape, bytes) of the tensors, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return total.hexdigest()


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The data that a model was trained on: its location, its splits, and the digest of its training split."""

    name: str = ""
    path: str = ""
    rule: str = ""  # the origin of the splits, in words
    digest: str = ""
    splits: tuple[str, ...] = ()
    cut: Cut = Cut()
    plugins: dict[str, str] = field(default_factory=dict)  # SHA-256 of the plugin files, keyed by "network tiny" etc.
    licence: str = ""
    notes: tuple[str, ...] = ()  # one sentence for each kind of file that was ignored in the data's folders


@dataclass(frozen=True)
class Metrics:
    """Measures of a model on a split. `main` names the measure by which models are chosen."""

    measures: dict[str, float]
    evaluated: int
    total: int
    main: str = "top1"

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, int | float]) -> "Metrics":
        """Create metrics from a mapping that contains the measures by name, and the counts "evaluated" and "total"."""
        counts = {"evaluated", "total"}
        measures = {name: float(value) for name, value in numbers.items() if name not in counts}
        return cls(measures, int(numbers["evaluated"]), int(numbers["total"]), main_measure(measures))

    @property
    def numbers(self) -> dict[str, int | float]:
        """Return the mapping that `from_numbers` reads."""
        return {**self.measures, "evaluated": self.evaluated, "total": self.total}


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """The model from whose weights training began: its name, the SHA-256 of its tensors, and its provenance."""

    model: str
    digest: str
    network: str
    licence: str = ""
    trained: "Provenance | None" = None


@dataclass(frozen=True, kw_only=True)
class SolvedStage:
    """The choices that a stage's solver made when it fitted the last layer."""

    solver: str  # the solver's kind
    images: int  # the number of training images that it was fitted to
    facts: dict[str, Any]  # its choices, such as {"strength": 0.01, "folds": 5}


@dataclass(frozen=True)
class RecipeNames:
    """The names of a run's recipe and data, as the user specified them. An unknown name is ""."""

    recipe: str = ""
    data: str = ""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of a model: its data, its recipe, and the model from which training began.

    `chosen` describes the step from which the weights were taken, or the file from which they were imported.
    `chosen_on` names the split whose measures decided between steps, if any. `recipe` is the resolved config. It is
    JSON because this package does not import the classes that the config contains.
    `solved` has an entry for each stage of kind `solve`, keyed by the name of its folder in `legs`, such as "01-probe".
    `measured` contains the matrices that augmentations computed from the training images, keyed by kind. A run that
    begins from the model uses them.
    """

    data: DataFacts | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)  # keyed by split
    chosen: str = ""
    chosen_on: str = ""
    init: Ancestor | None = None
    solved: dict[str, SolvedStage] = field(default_factory=dict)
    measured: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    scales: tuple[int, ...] = ()  # S: the shorter side of the images from which crops were cut, or its range

    @property
    def names(self) -> RecipeNames:
        """Return the names of the recipe and the data."""
        return RecipeNames(*(str(self.recipe.get(field.name, "")) for field in fields(RecipeNames)))


@dataclass(frozen=True, kw_only=True)
class ModelHeader:
    """Everything in a model file except its tensors.

    `body` is the JSON of a dataclass from which the model can be rebuilt. Each kind of model defines that dataclass.
    In an ensemble, the names of the tensors of member 3 begin with "3.".
    """

    kind: str  # network, ensemble or pipeline
    classes: tuple[str, ...]
    body: dict[str, Any]
    link: Link = "softmax"
    thresholds: tuple[float, ...] = ()  # for "sigmoid": the lowest probability that predicts a class; empty: 0.5 each
    trained: Provenance | None = None
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries that wrote the file
    licence: str = ""
    format: int = MODEL_FORMAT

    def body_of(self, kind: type[Body], path: Path, kinds: Kinds = NO_KINDS) -> Body:
        """Convert the body to the dataclass `kind`. If a field is wrong, raise a `UserError` that names `path`."""
        try:
            body: Body = from_json(kind, self.body, "body", {**SPLIT_KINDS, **kinds})
        except UserError as error:
            raise UserError(unreadable_text(path, error, self.versions)) from None
        return body


def save_model(path: Path, tensors: Mapping[str, Tensor], header: ModelHeader) -> None:
    """Write a safetensors file.

    Its metadata contains the header as JSON, and a digest over the header and the tensors.
    """
    record = to_json(header)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sealed = json.dumps({"header": record, "sha256": seal_digest(record, plain)}, sort_keys=True)
    write_file(path, safetensors.torch.save(plain, metadata={MAGIC_KEY: sealed}))


def seal_digest(record: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the digest to store in a model file. It covers the header and the tensors."""
    text = json.dumps(record, sort_keys=True) + tensors_digest(tensors)
    return hashlib.sha256(text.encode()).hexdigest()


def read_model(path: Path) -> tuple[dict[str, Tensor], ModelHeader]:
    """Return the tensors and the verified header of a file. Raise `UserError` if the file is damaged or incomplete."""
    record, digest = read_record(path)
    check_format(record, path)
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}). Restore it from a copy, or train again") from None
    if seal_digest(record, tensors) != digest:
        raise UserError(f"{path} is damaged: its digest does not match. Restore it from a copy, or train again")
    return tensors, header_of(record, path)


def header_of(record: Mapping[str, Any], path: Path) -> ModelHeader:
    """Convert the JSON header of a model file. Raise `UserError` if its format or a field is wrong."""
    check_format(record, path)
    try:
        header: ModelHeader = from_json(ModelHeader, record, "", SPLIT_KINDS)
    except UserError as error:
        raise UserError(unreadable_text(path, error, record.get("versions"))) from None
    return header


def check_format(record: Mapping[str, Any], path: Path) -> None:
    """Raise `UserError` if this version of imclass cannot read the header's format."""
    number = record.get("format")
    if number == MODEL_FORMAT:
        return
    if isinstance(number, int) and 0 < number < MODEL_FORMAT:
        fix = "create it again with imclass train, imclass weights import or imclass evaluate --save"
    else:
        fix = install_advice(record.get("versions"))
    raise UserError(f"{path} has model format {number}, but this version of imclass reads format {MODEL_FORMAT}; {fix}")


def unreadable_text(path: Path, error: UserError, versions: Any) -> str:
    """Return the message for a file with a field that this version of imclass does not know."""
    return f"{path}: {error}\nThis version of imclass cannot read the file; {install_advice(versions)}"


def install_advice(versions: Any) -> str:
    """Return advice to install the version of imclass that wrote a file. `versions` comes from its header."""
    wrote = versions.get("imclass") if isinstance(versions, dict) else None
    return f"install imclass {wrote}, which wrote it" if wrote else "install the version of imclass that wrote it"


def read_record(path: Path) -> tuple[dict[str, Any], str]:
    """Return the JSON header of a model file and the digest stored with it, without reading the tensors.

    The length of the header is checked against the size of the file before the header is read.
    """
    if path.name == "model.safetensors" and not path.exists() and (path.parent / "config.json").is_file():
        problem = f"the run in {path.parent} is not finished: it has no {path.name} yet, and no complete checkpoint"
        raise UserError(f"{problem}. Run its `imclass train` command again to resume it, and then run this command")
    if not path.is_file():
        inside = path.name == "model.safetensors" and path.parent.is_dir()
        problem = f"{path.parent} is not a run: {path}" if inside else f"the model file {path}"
        raise UserError(f"{problem} does not exist. Give a run, a model file, or published weights as NETWORK:WEIGHTS")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length + 8 > size or length > 100_000_000:
            raise UserError(
                f"{path} is not a model file, or is incomplete ({size:,} bytes). Give a file that imclass wrote"
            )
        text = file.read(length)
    unreadable = UserError(
        f"{path} is not an imclass model: it has no readable header. Give a file that imclass wrote, or import weights "
        "from another library with: imclass weights import"
    )
    try:
        sealed = json.loads(json.loads(text)["__metadata__"][MAGIC_KEY])
        record, digest = sealed["header"], sealed["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise unreadable from None
    if not isinstance(record, dict) or not isinstance(digest, str):
        raise unreadable
    return record, digest


def contents_in(tensors: Mapping[str, Tensor], path: Path) -> UInt64[np.ndarray, "N"] | None:
    """Return the content hashes of a model's training images, or None if its tensors do not include them.

    Raise `UserError` if the tensor of hashes has the wrong type or shape.
    """
    known = tensors.get(TRAINED_ON)
    if known is None:
        return None
    if known.dtype != torch.uint64 or known.dim() != 1:
        raise UserError(
            f"{path}: tensor {TRAINED_ON!r} is {describe_tensor(known)}, not a list of uint64; train the model again"
        )
    return known.numpy()


def merge_contents(contents: Iterable[UInt64[np.ndarray, "_"] | None]) -> UInt64[np.ndarray, "_"] | None:
    """Return the sorted union of all lists of content hashes that are not None. If all are None, return None."""
    known = [values for values in contents if values is not None]
    return np.unique(np.concatenate(known)) if known else None


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, with the prefix removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def describe_tensor(tensor: Tensor | None) -> str:
    """Describe a tensor: its shape, and its type unless that is float32."""
    if tensor is None:
        return "absent"
    form = " x ".join(map(str, tensor.shape)) or "a single value"
    return form if tensor.dtype == torch.float32 else f"{form} {str(tensor.dtype).removeprefix('torch.')}"
