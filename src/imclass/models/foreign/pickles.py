"""A reader of PyTorch pickles that keeps tensors and plain values, and replaces all other objects with stand-ins.

A pickle may name any class or function and have it called. PyTorch's restricted unpickler allows only some names. In
place of any other name, it receives a class from this module, whose instances contain only plain values. The named
class or function is never imported, so it cannot run.
"""

import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.serialization import safe_globals

from imclass.core.errors import UserError
from imclass.core.text import list_names, printable_text, suggestion

MAX_STAND_INS = 100  # in one checkpoint; each requires another pass over the pickle
UNKNOWN_NAME = re.compile(r"GLOBAL (\S+)")  # in PyTorch's message about a name that is not allowed
# Builtins of which other objects consist. PyTorch's message names these builtins without their module.
BUILTIN_NAMES = (
    "bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "range", "slice", "str", "tuple",
)  # fmt: skip

# Keys under which training scripts store the weights. Averages of the weights ("ema") are separate.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "params",
    "state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema",
)  # fmt: skip


class StandIn:
    """A placeholder for a class that a pickle refers to.

    Calling it returns an ordered dictionary, because PyTorch's unpickler can set entries and attributes on such a
    dictionary. For a NumPy type, it returns an empty object, because the type's state is not a dictionary.
    """

    original = ""  # the full name of the class

    def __new__(cls, *arguments: object, **named: object) -> Any:
        """Return the stand-in for one object. The constructor's arguments are ignored."""
        return object.__new__(cls) if cls.original.startswith("numpy.") else OrderedDict()

    def __setstate__(self, state: object) -> None:
        """Ignore the object's state."""


def read_pickle(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return the content of a PyTorch file, and the names of the classes that were replaced by stand-ins.

    Raise a `UserError` if the file cannot be read, or if the tensors claim more bytes than the file has.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if not zipped:  # the format before PyTorch 1.6, whose reader allocates as much as the file declares
            check_declared(path)
        return load_with_stand_ins(path, map_location="cpu", mmap=zipped)
    except UserError:
        raise
    except Exception as error:  # torch and pickle do not document which errors a broken pickle raises
        if asked := UNKNOWN_NAME.search(str(error)):
            raise UserError(
                f"{path} is refused and nothing in it was run: it asks for {printable_text(asked[1])}, but weights "
                "need no code. Save only tensors, with torch.save(model.state_dict(), ...)"
            ) from None
        # PyTorch's message is not passed on, because it advises running the file's code.
        raise UserError(
            f"{path} cannot be read as a PyTorch file of tensors: it is damaged, of another kind, or contains more "
            "than tensors and plain values. Nothing in it was run. Download the file again, correct its file "
            "extension, or save only model.state_dict()"
        ) from None


def load_with_stand_ins(path: Path, **options: Any) -> tuple[Any, tuple[str, ...]]:
    """Load a file with PyTorch's restricted unpickler and a stand-in for each name that PyTorch does not allow.

    Modules that access the operating system, and builtins outside `BUILTIN_NAMES`, are still refused, since weights do
    not need them.
    """
    names: list[str] = []
    while True:
        try:
            stand_ins: list[Any] = [(type("StandIn", (StandIn,), {"original": name}), name) for name in names]
            with warnings.catch_warnings(), safe_globals(stand_ins):
                warnings.simplefilter("ignore")  # a faulty file leads to a single message, from this module
                return torch.load(path, weights_only=True, **options), tuple(names)
        except pickle.UnpicklingError as error:
            asked = UNKNOWN_NAME.search(str(error))
            if asked is None:
                raise
            name = f"builtins.{asked[1]}" if asked[1] in BUILTIN_NAMES else asked[1]
            if name in names or len(names) == MAX_STAND_INS:
                raise
            names.append(name)


def check_declared(path: Path) -> None:
    """Raise a `UserError` if the tensors in a pickle claim more bytes than the file has.

    Only files in the format before PyTorch 1.6 need this check. No memory is allocated for the tensors.
    """
    with FakeTensorMode():
        held, _ = load_with_stand_ins(path)
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors_in(held)}
    if (total := sum(storages.values())) > path.stat().st_size:
        raise UserError(
            f"{path} is refused and nothing in it was loaded: its tensors claim {total:,} bytes, but the file has "
            f"{path.stat().st_size:,}. Download the file again"
        )


def tensors_in(held: Any) -> list[Tensor]:
    """Return every tensor in nested dictionaries, lists and tuples."""
    if isinstance(held, Tensor):
        return [held]
    if isinstance(held, dict):
        held = list(plain_entries(held).values())
    return [tensor for part in held for tensor in tensors_in(part)] if isinstance(held, list | tuple) else []


def plain_entries(held: dict[Any, Any]) -> dict[Any, Any]:
    """Return a dictionary's entries as a plain dictionary.

    A dictionary created by a pickle may have attributes that hide methods such as `items`.
    """
    return dict(dict.items(held))


def entry_of(path: Path, held: Mapping[str, Any], key: str | None, stand_ins: Sequence[str]) -> str:
    """Return the name of the entry that contains the weights, or "" if the file itself is the state dict.

    Entries with names that training scripts use for weights take precedence over other tensors, such as a best
    accuracy. Raise a `UserError` if no entry, or more than one, could contain the weights.
    """
    holders = [name for name, value in held.items() if has_tensors(value)]
    if key is not None and key not in holders:
        raise UserError(f"--key {key}: {path} has no tensors under that name{suggestion(key, holders)}")
    found = [key] if key is not None else [name for name in holders if name in WRAPPERS]
    plain = has_tensors(held)
    if not found and not plain:
        found = holders
    if len(found) > 1:
        raise UserError(
            f"{path} contains several sets of weights, {list_names(found)}; choose one with --key {found[0]}"
        )
    if not found and not plain:
        contents = ", ".join(f"{printable_text(name)!r} ({entry_kind(value)})" for name, value in [*held.items()][:10])
        objects = f"objects of {list_names(stand_ins, 5)}" if stand_ins else "nothing"
        raise UserError(f"{path} contains no named tensors, but {contents or objects}. Save model.state_dict() instead")
    return found[0] if found else ""


def has_tensors(value: Any) -> bool:
    """Return whether a value is a dictionary that contains a tensor."""
    return isinstance(value, dict) and any(isinstance(inner, Tensor) for inner in plain_entries(value).values())


def entry_kind(value: Any) -> str:
    """Return a short description of the type of a checkpoint's entry."""
    return f"a dictionary of {len(value):,}" if isinstance(value, dict) else type(value).__name__
