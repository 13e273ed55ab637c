"""A reader for pickles of byte arrays, lists and names. It runs none of the code to which a pickle refers.

A pickle is a program whose instructions may call any importable name. Here a few names are mapped to classes in this
file that only store bytes, and any other name is refused. Even NumPy's reconstruction of arrays is replaced, because it
trusts the flags of a pickled dtype and could be made to treat bytes as pointers.
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

# Python hashes nested tuples with unlimited recursion, and 130,000 of them overflow a stack of 8 MiB. Valid files have
# a handful of tuples, or one for each image's name if Python 3 wrote the names in protocol 2: 50,000 in CIFAR-100.
MAX_TUPLES = 60_000
# Storing a value under the number n makes the unpickler's list of stored values n entries long, at 16 bytes per entry.
MAX_MEMO_INDEX = 1 << 20
TUPLE_OPCODES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
PUT_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")
# Extension codes may be resolved from a cache, which bypasses `find_class`. Like tuples, frozen sets can be nested in
# keys.
BARRED_OPCODES = ("EXT1", "EXT2", "EXT4", "FROZENSET")


class Encode:
    """The stand-in for `_codecs.encode`, with which Python 3 writes bytes in protocols 0 to 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise ValueError("bytes that are not encoded as latin1")
        return text.encode("latin1")


class Dtype:
    """The stand-in for `numpy.dtype`, with unsigned bytes as the only type. Byte order and flags are ignored."""

    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> "Dtype":
        if code not in ("u1", b"u1", "|u1", b"|u1"):
            raise ValueError("an array of a type other than unsigned bytes")
        return self

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


class Array:
    """The stand-in for a NumPy array. `_reconstruct` creates it, and a BUILD instruction fills it."""

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
    """The stand-in for NumPy's `_reconstruct`. It returns an `Array` without values."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> Array:
        return Array()


STAND_INS = {
    ("_codecs", "encode"): Encode,
    ("numpy", "dtype"): Dtype,
    ("numpy", "ndarray"): object,  # an argument of `_reconstruct`, which ignores it
    ("numpy.core.multiarray", "_reconstruct"): Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): Reconstruct,
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that accepts only the names in `STAND_INS`."""

    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")  # a `str` of Python 2 becomes bytes
        self.path = path

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the stand-in for a name. Raise `UserError` if there is none."""
        # The instance is new each time, so that one pickle cannot change what the next one gets.
        if (module, name) not in STAND_INS:
            raise pickle_refusal(self.path, f"it refers to {f'{module}.{name}'[:200]}")
        return STAND_INS[module, name]()


def unpickle(content: bytes, path: Path) -> dict[str, Any]:
    """Return the entries of a pickled dictionary. Its arrays become NumPy arrays of unsigned bytes.

    Python 2 strings become text in keys and bytes elsewhere. If the pickle contains anything else, raise a `UserError`
    that names `path`.
    """
    try:
        check_instructions(content, path)
        loaded = RestrictedUnpickler(content, path).load()
        if not isinstance(loaded, dict):
            raise ValueError("not a dictionary")
        texts = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in loaded.items()}
        plain = {key: value.values if isinstance(value, Array) else value for key, value in texts.items()}
    except UserError:
        raise
    except Exception as error:  # the pickle module documents no list of the errors that a broken pickle raises
        why = printable_text(str(error))[:200] or type(error).__name__
        raise UserError(
            f"{path} is not a pickle of byte arrays, lists and names ({why}); download the file again"
        ) from None
    return {key: value for key, value in plain.items() if isinstance(key, str)}


def check_instructions(content: bytes, path: Path) -> None:
    """Raise `UserError` if instructions could bypass `find_class` or use too much memory or stack."""
    tuples = 0
    for code, argument, _ in pickletools.genops(content):
        tuples += code.name in TUPLE_OPCODES
        if code.name in BARRED_OPCODES:
            raise pickle_refusal(path, f"it uses the instruction {code.name}")
        if code.name in PUT_OPCODES and int(argument or 0) > MAX_MEMO_INDEX:
            raise pickle_refusal(path, f"it stores a value under the number {str(argument)[:20]}")
    if tuples > MAX_TUPLES:
        raise pickle_refusal(path, f"it creates {tuples:,} tuples")


def pickle_refusal(path: Path, why: str) -> UserError:
    """Return the error for a pickle that contains anything but data."""
    return UserError(
        f"{path} was refused, and nothing in it was run: {printable_text(why)}. Use a file from a source you trust"
    )
