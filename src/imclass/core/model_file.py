"""The one-file model format: safetensors with a JSON header, sealed by a digest."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.errors import UserError
from imclass.core.files import write
from imclass.core.preprocess import Preprocess
from imclass.core.targets import Link

FORMAT = 1
MAGIC_KEY = "imclass"
TRAINED_ON = "trained_on"  # the tensor of the images that a network was trained on: 64 bits of each one's SHA-256


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over sorted (name, dtype, shape, bytes): what "the same bits" means."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return total.hexdigest()


@dataclass(frozen=True)
class MemberHeader:
    """A member of an ensemble: its own header, the protocol it is looked through (name and fields), its weight.

    The tensors of member 3 of the file are called "3." and their name in a file of their own.
    """

    header: "ModelHeader"
    protocol: str = ""  # none: the member's own way
    fields: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True)
class ModelHeader:
    """Everything a model file holds beside its tensors. An ensemble's `network` is "ensemble", its row is empty."""

    network: str
    row: dict[str, Any]
    classes: tuple[str, ...]
    preprocess: Preprocess
    recipe: dict[str, Any] = field(default_factory=dict)  # the resolved config it was trained with
    data: dict[str, Any] = field(default_factory=dict)  # name, path, split rule, digest
    metrics: dict[str, Any] = field(default_factory=dict)
    init: dict[str, Any] = field(default_factory=dict)  # the model that the weights began from: digest, data, licence
    chosen: str = ""  # which step these weights are: the last, or the best on validation
    versions: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    members: tuple[MemberHeader, ...] = ()  # of an ensemble
    temperature: float = 1.0  # that an ensemble's log-scores are divided by
    link: Link = "softmax"
    thresholds: tuple[float, ...] = ()  # from which an image has each class, under "sigmoid"; none: 0.5 each
    format: int = FORMAT


def save_model(path: Path, tensors: Mapping[str, Tensor], header: ModelHeader) -> None:
    """One safetensors file whose metadata is the header as JSON with a digest over header and tensors."""
    record = to_json(header)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sealed = json.dumps({"header": record, "sha256": seal(record, plain)}, sort_keys=True)
    write(path, safetensors.torch.save(plain, metadata={MAGIC_KEY: sealed}))


def seal(record: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The digest that a model file carries over its own header and tensors."""
    text = json.dumps(record, sort_keys=True) + tensors_digest(tensors)
    return hashlib.sha256(text.encode()).hexdigest()


def read_model(path: Path) -> tuple[dict[str, Tensor], ModelHeader]:
    """Tensors and header, verified against the digest; a file that is not whole is a `UserError` that says why."""
    record, digest = read_record(path)
    if record.get("format") != FORMAT:
        raise UserError(
            f"{path} has model format {record.get('format')}, and this imclass reads format {FORMAT}; "
            f"{writer(record.get('versions'))}"
        )
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}); restore it from a copy, or train again") from None
    if seal(record, tensors) != digest:
        raise UserError(f"{path} is damaged: it does not match its own digest; restore it from a copy, or train again")
    try:
        return tensors, from_json(ModelHeader, record)
    except UserError as error:
        raise UserError(f"{path}: {error}\nThis imclass cannot read it; {writer(record.get('versions'))}") from None


def writer(versions: Any) -> str:
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
