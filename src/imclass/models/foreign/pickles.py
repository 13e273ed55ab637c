"""PyTorch's pickles, read by its restricted unpickler: tensors and plain values, and for anything else empty stand-ins.

A pickle may name any class or function and have it called. Here such a name stands for a class of this file that holds
plain values at most: nothing that a file names is imported, so nothing of it can run.
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

MAX_STAND_INS = 100  # of other libraries that one checkpoint asks for; each costs a reading of the pickle up to it
UNKNOWN_NAME = re.compile(r"GLOBAL (\S+)")  # in PyTorch's message of a name that it does not know
# Builtins, which that message names without their module, that other objects are made of.
BUILTIN_NAMES = (
    "bool",
    "bytes",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "object",
    "range",
    "slice",
    "str",
    "tuple",
)

# Keys under which training scripts keep the weights. An average of them ("ema") is another set of weights.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "params",
    "state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema",
)  # fmt: skip


class StandIn:
    """A class that a pickle asks for, in name only: an ordered dictionary, so that entries and attributes find a place.

    PyTorch's unpickler sets entries of plain dictionaries alone. The attributes of numpy's types are not a dictionary.
    """

    asked = ""

    def __new__(cls, *arguments: object, **named: object) -> Any:
        """Return the stand-in of one object; its arguments are dropped."""
        return object.__new__(cls) if cls.asked.startswith("numpy.") else OrderedDict()

    def __setstate__(self, state: object) -> None:
        """Drop what the object held."""


def read_pickle(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return what a PyTorch file holds, and the names in it that stand-ins were taken for.

    A file that is no such pickle, or that claims more bytes than it has, is a `UserError`.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if not zipped:  # the format before PyTorch 1.6, which allocates what it declares
            check_declared(path)
        return load_with_stand_ins(path, map_location="cpu", mmap=zipped)
    except UserError:
        raise
    except Exception as error:  # torch and pickle promise no list of what a broken pickle raises
        if asked := UNKNOWN_NAME.search(str(error)):
            raise UserError(
                f"{path} is refused and nothing in it was run: it asks for {printable_text(asked[1])}, and weights "
                "need no code. Give a file of tensors alone, such as torch.save(model.state_dict(), ...) writes"
            ) from None
        # PyTorch's message advises to run the file's code
        raise UserError(
            f"{path} cannot be read as a PyTorch file of tensors: it is damaged, of another kind, or holds more than "
            "tensors and plain values, and then nothing in it was run. Fetch it again, give it the suffix of what it "
            "is, or save model.state_dict() alone"
        ) from None


def load_with_stand_ins(path: Path, **options: Any) -> tuple[Any, tuple[str, ...]]:
    """Return what PyTorch's restricted unpickler makes of a file, with a stand-in for each name it does not know.

    Other builtins than `PLAIN` and the operating system's modules stay refused: no weights need them.
    """
    names: list[str] = []
    while True:
        try:
            stand_ins: list[Any] = [(type("StandIn", (StandIn,), {"asked": name}), name) for name in names]
            with warnings.catch_warnings(), safe_globals(stand_ins):
                warnings.simplefilter("ignore")  # one message covers what is wrong with the file
                return torch.load(path, weights_only=True, **options), tuple(names)
        except pickle.UnpicklingError as error:
            asked = UNKNOWN_NAME.search(str(error))
            name = "" if asked is None else f"builtins.{asked[1]}" if asked[1] in BUILTIN_NAMES else asked[1]
            if not name or name in names or len(names) == MAX_STAND_INS:
                raise
            names.append(name)


def check_declared(path: Path) -> None:
    """Raise `UserError` where the tensors in an old pickle claim more bytes than the file has; allocate nothing."""
    with FakeTensorMode():
        held, _ = load_with_stand_ins(path)
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors_in(held)}
    if (total := sum(storages.values())) > path.stat().st_size:
        raise UserError(
            f"{path} is refused, and nothing of it was loaded: its tensors claim {total:,} bytes, and the file has "
            f"{path.stat().st_size:,}"
        )


def tensors_in(held: Any) -> list[Tensor]:
    """Return every tensor in nested dictionaries, lists and tuples."""
    if isinstance(held, Tensor):
        return [held]
    parts = plain_entries(held).values() if isinstance(held, dict) else held if isinstance(held, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def plain_entries(held: dict[Any, Any]) -> dict[Any, Any]:
    """Return a dictionary's entries as a plain one: attributes that a pickle gave it could stand for its methods."""
    return dict(dict.items(held))


def entry_of(path: Path, held: Mapping[str, Any], key: str | None, stand_ins: Sequence[str]) -> str:
    """Return the entry that holds the tensors, "" where the file itself does; raise `UserError` where it is unclear.

    An entry of a name that scripts use for weights comes before other tensors, such as a best accuracy.
    """
    holders = [name for name, value in held.items() if has_tensors(value)]
    if key is not None and key not in holders:
        raise UserError(f"--key {key}: {path} has no tensors under that name{suggestion(key, holders)}")
    found = [key] if key is not None else [name for name in holders if name in WRAPPERS]
    plain = has_tensors(held)
    if not found and not plain:
        found = holders
    if len(found) > 1:
        raise UserError(f"{path} holds several sets of weights, {list_names(found)}; take one with --key {found[0]}")
    if not found and not plain:
        contents = ", ".join(f"{printable_text(name)!r} ({entry_kind(value)})" for name, value in [*held.items()][:10])
        objects = f"objects of {list_names(stand_ins, 5)}" if stand_ins else "nothing"
        raise UserError(f"{path} holds no tensors by name, but {contents or objects}; save model.state_dict()")
    return found[0] if found else ""


def has_tensors(value: Any) -> bool:
    """Return whether this is a dictionary with tensors in it, by name."""
    return isinstance(value, dict) and any(isinstance(inner, Tensor) for inner in plain_entries(value).values())


def entry_kind(value: Any) -> str:
    """Return what an entry of a checkpoint is, in a word."""
    return f"a dictionary of {len(value):,}" if isinstance(value, dict) else type(value).__name__
