"""Pickles of byte arrays, lists and names, read without running anything that they say.

A pickle is a program whose instructions may call whatever they name. Here a few names stand for classes of this file
that do nothing but hold bytes; any other name is refused. Not even numpy's own reconstruction sees what a file says:
it trusts the flags of a pickled dtype and can be made to take bytes for pointers.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from imclass.core.errors import UserError
from imclass.core.text import printable_text

# Python hashes nested tuples by recursion without a limit; 8 MiB of stack end at 130,000. Honest files have a handful,
# or one for each file name where Python 3 wrote protocol 2: 50,000 in CIFAR-100.
MAX_TUPLES = 60_000
MAX_MEMO_INDEX = 1 << 20  # the highest number of a stored value; the list of these takes 16 bytes for each number below
TUPLE_OPCODES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
PUT_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")
# Extension codes may be answered from a cache, past `find_class`; frozen sets can be nested as keys like tuples.
BARRED_OPCODES = ("EXT1", "EXT2", "EXT4", "FROZENSET")


class Encode:
    """For `_codecs.encode`, by which Python 3 writes bytes in protocols 0 to 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise ValueError("bytes that are not written as latin1")
        return text.encode("latin1")


class Dtype:
    """For `numpy.dtype`; unsigned bytes are the only one. Their state (byte order, fields, flags) is not looked at."""

    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> "Dtype":
        if code not in ("u1", b"u1", "|u1", b"|u1"):
            raise ValueError("an array of another type than unsigned bytes")
        return self

    def __setstate__(self, state: object) -> None:
        """Nothing to set."""


class Array:
    """For an array that `_reconstruct` begins and a BUILD instruction completes."""

    __slots__ = ("values",)

    values: UInt8[np.ndarray, "..."]

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise ValueError("an array without a state")
        _, shape, dtype, by_columns, content = state
        if not (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)):
            raise ValueError("an array without a shape")
        if not (isinstance(dtype, Dtype) and isinstance(content, bytes) and len(content) == math.prod(shape)):
            raise ValueError("an array whose bytes do not fit its shape")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


class Reconstruct:
    """For numpy's `_reconstruct`, which makes an array with nothing in it."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> Array:
        return Array()


STAND_INS = {
    ("_codecs", "encode"): Encode,
    ("numpy", "dtype"): Dtype,
    ("numpy", "ndarray"): object,  # an argument of `_reconstruct`, not looked at
    ("numpy.core.multiarray", "_reconstruct"): Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): Reconstruct,
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler for which only `STAND_INS` exist."""

    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")  # what Python 2 called str
        self.path = path

    def find_class(self, module: str, name: str, /) -> Any:
        """A stand-in, new each time so that no pickle can change what the next one meets; otherwise a `UserError`."""
        if (module, name) not in STAND_INS:
            raise pickle_refusal(self.path, f"it asks for {f'{module}.{name}'[:200]}")
        return STAND_INS[module, name]()


def unpickle(content: bytes, path: Path) -> dict[str, Any]:
    """The entries of a pickled dictionary; texts of Python 2 are bytes, except the keys.

    Arrays at its top level are UInt8 arrays. Anything unusual is a `UserError` that names `path` and what it is.
    """
    try:
        check_instructions(content, path)
        held = RestrictedUnpickler(content, path).load()
        if not isinstance(held, dict):
            raise ValueError("no dictionary")
        texts = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in held.items()}
        plain = {key: value.values if isinstance(value, Array) else value for key, value in texts.items()}
    except UserError:
        raise
    except Exception as error:  # the pickle module promises no list of what a broken pickle raises
        why = printable_text(str(error))[:200] or type(error).__name__
        raise UserError(f"{path} is no pickle of byte arrays, lists and names ({why}); fetch it again") from None
    return {key: value for key, value in plain.items() if isinstance(key, str)}


def check_instructions(content: bytes, path: Path) -> None:
    """A `UserError` for instructions that take memory or stack out of proportion, whatever they name."""
    tuples = 0
    for code, argument, _ in pickletools.genops(content):
        tuples += code.name in TUPLE_OPCODES
        if code.name in BARRED_OPCODES:
            raise pickle_refusal(path, f"it uses the instruction {code.name}")
        if code.name in PUT_OPCODES and int(argument or 0) > MAX_MEMO_INDEX:
            raise pickle_refusal(path, f"it numbers a value {str(argument)[:20]}")
    if tuples > MAX_TUPLES:
        raise pickle_refusal(path, f"it makes {tuples:,} tuples")


def pickle_refusal(path: Path, why: str) -> UserError:
    """The error for a pickle that wants more than to be read."""
    return UserError(
        f"{path} is refused and nothing in it was run: {printable_text(why)}. Use a file from a source you trust"
    )
