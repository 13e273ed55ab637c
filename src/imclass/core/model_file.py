"""The one-file model format: safetensors with a JSON header, sealed by a digest."""

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
from imclass.core.config import Cut
from imclass.core.errors import UserError
from imclass.core.files import write_file
from imclass.core.targets import Link
from imclass.core.text import main_measure

MODEL_FORMAT = 2
Body = TypeVar("Body")
MAGIC_KEY = "imclass"
TRAINED_ON = "trained_on"  # the tensor of the images that a model was trained on: 64 bits of each one's SHA-256


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over sorted (name, dtype, shape, bytes): what "the same bits" means."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return total.hexdigest()


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The data that a model was trained on: where it lay, how it was cut, and the digest of its training split."""

    name: str = ""
    path: str = ""
    rule: str = ""  # how its splits came about, in words
    digest: str = ""
    splits: tuple[str, ...] = ()
    cut: Cut = Cut()
    plugins: dict[str, str] = field(default_factory=dict)  # SHA-256 of the user's files in use, such as "network tiny"
    licence: str = ""
    notes: tuple[str, ...] = ()  # what was passed over in its folders, a sentence each


@dataclass(frozen=True)
class Metrics:
    """What was measured on a split. `main` is the measure that models are chosen by."""

    measures: dict[str, float]
    evaluated: int
    total: int
    main: str = "top1"

    @classmethod
    def of(cls, numbers: Mapping[str, int | float]) -> "Metrics":
        """Return the metrics of a flat record: measures by name, and how many images were evaluated, of how many."""
        counts = {"evaluated", "total"}
        measures = {name: float(value) for name, value in numbers.items() if name not in counts}
        return cls(measures, int(numbers["evaluated"]), int(numbers["total"]), main_measure(measures))

    @property
    def numbers(self) -> dict[str, int | float]:
        """Return the flat record."""
        return {**self.measures, "evaluated": self.evaluated, "total": self.total}


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """The model that weights began from: its name, the SHA-256 of its tensors, and how it came about."""

    model: str
    digest: str
    network: str
    licence: str = ""
    trained: "Provenance | None" = None


@dataclass(frozen=True)
class RecipeNames:
    """The recipe that a run was configured by, and its data as the user named it; "" where it is not known."""

    recipe: str = ""
    data: str = ""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a model came about. `chosen` says which step its weights are of, or the file that they were imported from.

    `recipe` is the resolved config as JSON, because its kinds stand in tables of the rooms above; `names` reads it.
    """

    data: DataFacts | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)  # by split
    chosen: str = ""
    init: Ancestor | None = None

    @property
    def names(self) -> RecipeNames:
        """Return the names in the recipe."""
        return RecipeNames(*(str(self.recipe.get(field.name, "")) for field in fields(RecipeNames)))


@dataclass(frozen=True, kw_only=True)
class ModelHeader:
    """Everything in a model file besides its tensors.

    `body` is what the kind is built from again: the JSON of a dataclass that stands where the kind does. Member 3 of an
    ensemble has its tensors under "3." and their names in a file of its own.
    """

    kind: str  # network, ensemble or pipeline
    classes: tuple[str, ...]
    body: dict[str, Any]
    link: Link = "softmax"
    thresholds: tuple[float, ...] = ()  # from which an image has each class, under "sigmoid"; none: 0.5 each
    trained: Provenance | None = None
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries that it was made with
    licence: str = ""
    format: int = MODEL_FORMAT

    def body_of(self, kind: type[Body], path: Path, kinds: Kinds = NO_KINDS) -> Body:
        """Return the body as a value of the dataclass `kind`; a wrong field is a `UserError` that names `path`."""
        try:
            body: Body = from_json(kind, self.body, "body", kinds)
        except UserError as error:
            raise UserError(f"{path}: {error}\nThis imclass cannot read it; {install_advice(self.versions)}") from None
        return body


def save_model(path: Path, tensors: Mapping[str, Tensor], header: ModelHeader) -> None:
    """One safetensors file whose metadata is the header as JSON with a digest over header and tensors."""
    record = to_json(header)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sealed = json.dumps({"header": record, "sha256": seal_digest(record, plain)}, sort_keys=True)
    write_file(path, safetensors.torch.save(plain, metadata={MAGIC_KEY: sealed}))


def seal_digest(record: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The digest that a model file carries over its own header and tensors."""
    text = json.dumps(record, sort_keys=True) + tensors_digest(tensors)
    return hashlib.sha256(text.encode()).hexdigest()


def read_model(path: Path) -> tuple[dict[str, Tensor], ModelHeader]:
    """Tensors and header, verified against the digest; a file that is not whole is a `UserError` that says why."""
    record, digest = read_record(path)
    check_format(record, path)
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}); restore it from a copy, or train again") from None
    if seal_digest(record, tensors) != digest:
        raise UserError(f"{path} is damaged: it does not match its own digest; restore it from a copy, or train again")
    return tensors, header_of(record, path)


def header_of(record: Mapping[str, Any], path: Path) -> ModelHeader:
    """Return the header of which `path` holds the JSON. Raise `UserError` for another format or a wrong field."""
    check_format(record, path)
    try:
        header: ModelHeader = from_json(ModelHeader, record)
    except UserError as error:
        raise UserError(
            f"{path}: {error}\nThis imclass cannot read it; {install_advice(record.get('versions'))}"
        ) from None
    return header


def check_format(record: Mapping[str, Any], path: Path) -> None:
    """Raise `UserError` for another format than this imclass reads, with what makes a file of this one."""
    number = record.get("format")
    if number == MODEL_FORMAT:
        return
    earlier = isinstance(number, int) and 0 < number < MODEL_FORMAT
    again = "make it again, with imclass train, imclass weights import or imclass evaluate --save"
    fix = again if earlier else install_advice(record.get("versions"))
    raise UserError(f"{path} has model format {number}, and this imclass reads format {MODEL_FORMAT}; {fix}")


def install_advice(versions: Any) -> str:
    """Return which imclass to install for a file whose header names these versions."""
    wrote = versions.get("imclass") if isinstance(versions, dict) else None
    return f"install imclass {wrote}, which wrote it" if wrote else "install the imclass that wrote it"


def read_record(path: Path) -> tuple[dict[str, Any], str]:
    """The header's JSON and the digest of a model file, read without its tensors and without trusting its lengths."""
    if path.name == "model.safetensors" and not path.exists() and (path.parent / "config.json").is_file():
        why = f"the run in {path.parent} is not finished: it has no {path.name} yet, and no whole checkpoint"
        raise UserError(f"{why}; give its `imclass train` command again, and then this one")
    if not path.is_file():
        raise UserError(f"there is no model file {path}; give a run, one of its legs or checkpoints, or a model file")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length + 8 > size or length > 100_000_000:
            raise UserError(
                f"{path} is no model file, or not a whole one ({size:,} bytes); give one that imclass wrote"
            )
        text = file.read(length)
    unreadable = UserError(f"{path} carries no readable imclass header; give a file that imclass wrote")
    try:
        sealed = json.loads(json.loads(text)["__metadata__"][MAGIC_KEY])
        record, digest = sealed["header"], sealed["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise unreadable from None
    if not isinstance(record, dict) or not isinstance(digest, str):
        raise unreadable
    return record, digest


def contents_in(tensors: Mapping[str, Tensor], path: Path) -> UInt64[np.ndarray, "N"] | None:
    """Return the contents of the images that a model was trained on, from its tensors; None where they are not known.

    A tensor of that name that does not hold such contents is a `UserError`.
    """
    known = tensors.get(TRAINED_ON)
    if known is None:
        return None
    if known.dtype != torch.uint64 or known.dim() != 1:
        raise UserError(f"{path}: tensor {TRAINED_ON!r} is {describe_tensor(known)}, not a list of uint64; train again")
    return known.numpy()


def merge_contents(contents: Iterable[UInt64[np.ndarray, "_"] | None]) -> UInt64[np.ndarray, "_"] | None:
    """Return the contents that any of the lists has, sorted; None where no list is known."""
    known = [each for each in contents if each is not None]
    return np.unique(np.concatenate(known)) if known else None


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, under their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def describe_tensor(tensor: Tensor | None) -> str:
    """Return a tensor's type and shape in words."""
    if tensor is None:
        return "absent"
    form = " x ".join(map(str, tensor.shape)) or "a single value"
    return form if tensor.dtype == torch.float32 else f"{form} {str(tensor.dtype).removeprefix('torch.')}"
