"""Reader of PyTorch's pickles: tensors and plain values, and empty stand-ins for objects of any other class.

A pickle may name any class or function and have it called. PyTorch's restricted unpickler gets a class of this file
instead, which holds plain values at most. Nothing that a file names is imported, so none of it can run.
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

MAX_STAND_INS = 100  # in one checkpoint; for each, the pickle is read once more
UNKNOWN_NAME = re.compile(r"GLOBAL (\S+)")  # in PyTorch's message about a name that it does not know
# Builtins that other objects are made of. PyTorch's message names them without their module.
BUILTIN_NAMES = (
    "bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "range", "slice", "str", "tuple",
)  # fmt: skip

# Keys under which training scripts keep the weights. An average of them ("ema") is another set of weights.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "params",
    "state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema",
)  # fmt: skip


class StandIn:
    """Placeholder for a class that a pickle names.

    An instance is an ordered dictionary, on which PyTorch's unpickler sets both entries and attributes. For numpy's
    types, whose state is not a dictionary, it is an empty object.
    """

    original = ""  # the full name of the class

    def __new__(cls, *arguments: object, **named: object) -> Any:
        """Return the stand-in of one object. Its arguments are dropped."""
        return object.__new__(cls) if cls.original.startswith("numpy.") else OrderedDict()

    def __setstate__(self, state: object) -> None:
        """Drop the object's state."""


def read_pickle(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return the content of a PyTorch file, and the names of the classes that stand-ins replace in it.

    Raise `UserError` if the file cannot be read, or claims more bytes than it has.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if not zipped:  # the format before PyTorch 1.6, whose reader allocates the sizes that the file declares
            check_declared(path)
        return load_with_stand_ins(path, map_location="cpu", mmap=zipped)
    except UserError:
        raise
    except Exception as error:  # torch and pickle do not document what a broken pickle raises
        if asked := UNKNOWN_NAME.search(str(error)):
            raise UserError(
                f"{path} is refused and nothing in it was run: it asks for {printable_text(asked[1])}, and weights "
                "need no code. Give a file of tensors alone, as torch.save(model.state_dict(), ...) writes it"
            ) from None
        # PyTorch's message is not passed on: it advises to run the file's code.
        raise UserError(
            f"{path} cannot be read as a PyTorch file of tensors: it is damaged, of another kind, or holds more than "
            "tensors and plain values. Nothing in it was run. Fetch it again, give it the right suffix, or save "
            "model.state_dict() alone"
        ) from None


def load_with_stand_ins(path: Path, **options: Any) -> tuple[Any, tuple[str, ...]]:
    """Load a file with PyTorch's restricted unpickler, with a stand-in for each name that it does not know.

    Builtins outside `BUILTIN_NAMES` and the operating system's modules stay refused, since weights do not need them.
    """
    names: list[str] = []
    while True:
        try:
            stand_ins: list[Any] = [(type("StandIn", (StandIn,), {"original": name}), name) for name in names]
            with warnings.catch_warnings(), safe_globals(stand_ins):
                warnings.simplefilter("ignore")  # a file with a problem gets one message, ours
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
    """Raise `UserError` if the tensors in an old pickle claim more bytes than the file has, without allocating any."""
    with FakeTensorMode():
        held, _ = load_with_stand_ins(path)
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors_in(held)}
    if (total := sum(storages.values())) > path.stat().st_size:
        raise UserError(
            f"{path} is refused and nothing in it was loaded: its tensors claim {total:,} bytes, and the file has "
            f"{path.stat().st_size:,}. Fetch it again"
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

    A pickle may set attributes on its own dictionaries that hide methods such as `items`.
    """
    return dict(dict.items(held))


def entry_of(path: Path, held: Mapping[str, Any], key: str | None, stand_ins: Sequence[str]) -> str:
    """Return the name of the entry that holds the weights, or "" if they are the file's own entries.

    An entry with a name that scripts use for weights comes before other tensors, such as a best accuracy. Raise
    `UserError` if several entries could be meant.
    """
    holders = [name for name, value in held.items() if has_tensors(value)]
    if key is not None and key not in holders:
        raise UserError(f"--key {key}: {path} has no tensors under that name{suggestion(key, holders)}")
    found = [key] if key is not None else [name for name in holders if name in WRAPPERS]
    plain = has_tensors(held)
    if not found and not plain:
        found = holders
    if len(found) > 1:
        raise UserError(f"{path} holds several sets of weights, {list_names(found)}; choose one with --key {found[0]}")
    if not found and not plain:
        contents = ", ".join(f"{printable_text(name)!r} ({entry_kind(value)})" for name, value in [*held.items()][:10])
        objects = f"objects of {list_names(stand_ins, 5)}" if stand_ins else "nothing"
        raise UserError(f"{path} holds no named tensors, but {contents or objects}; save model.state_dict()")
    return found[0] if found else ""


def has_tensors(value: Any) -> bool:
    """Return whether a value is a dictionary with a tensor in it."""
    return isinstance(value, dict) and any(isinstance(inner, Tensor) for inner in plain_entries(value).values())


def entry_kind(value: Any) -> str:
    """Describe an entry of a checkpoint by its type, in a word or two."""
    return f"a dictionary of {len(value):,}" if isinstance(value, dict) else type(value).__name__
