"""Files of weights from elsewhere, read as named tensors without trust: safetensors, NumPy archives, PyTorch pickles.

Nothing in a file is run, and no size that it declares is allocated before the file has been found to hold as much.
PyTorch's zip files and safetensors are mapped into memory, privately: the file on the disk stays as it is.
"""

import io
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch._subclasses import FakeTensorMode

from imclass.core.errors import UserError
from imclass.core.text import nearest, printable
from imclass.store.untrusted import GRACE, RATIO

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # keys under which training scripts keep the weights
PREFIXES = ("module.", "_orig_mod.")  # DataParallel's and torch.compile's
# The first spelling of torchvision's DenseNet, which is still the one in its files.
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
MOST_MEMBERS = 20_000


@dataclass(frozen=True)
class NamedTensors:
    """What a file holds, by its own names, and what was passed over or renamed, a sentence each."""

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


def read_tensors(path: Path) -> NamedTensors:
    """The tensors in a file, by the kind that its suffix says; one that is not of that kind is a `UserError`."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if path.suffix not in READERS:
        hint = "; a caffemodel must be made into an .npz first" if path.suffix == ".caffemodel" else ""
        kinds = nearest(path.suffix, READERS) or f"; there are: {', '.join(READERS)}"
        raise UserError(f"{path}: {path.suffix or 'a file without suffix'} is no kind of weights{kinds}{hint}")
    held = READERS[path.suffix](path)
    if not held.tensors:
        raise UserError(f"{path} holds no tensors; give the file of a network's state dict")
    return plainly_named(held)


def plainly_named(held: NamedTensors) -> NamedTensors:
    """The same under the names that the network itself gave: wrappers' prefixes off, old spellings made new."""
    names = {name: name for name in held.tensors}
    notes = list(held.notes)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names.values())), None):
        names = {name: plain.removeprefix(prefix) for name, plain in names.items()}
        notes.append(f"all names begin with {prefix!r}, which is left off")
    names = {name: OLD_NAME.sub(r"\1\2", plain) for name, plain in names.items()}
    return NamedTensors({names[name]: tensor for name, tensor in held.tensors.items()}, tuple(notes))


def in_safetensors(path: Path) -> NamedTensors:
    """The tensors of a safetensors file, whose library checks every length against the file."""
    try:
        return NamedTensors(safetensors.torch.load_file(path))
    except Exception as error:  # its errors have no common class below this one
        raise unreadable(path, "a safetensors file", error) from None


def in_arrays(path: Path) -> NamedTensors:
    """The arrays of an .npz archive; one that declares more than its size allows is a `UserError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            check_members(path, members)
            return NamedTensors({m.filename.removesuffix(".npy"): array_of(archive, m) for m in members})
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy raise what they like on damaged files
        raise unreadable(path, "a NumPy archive of arrays", error) from None


def check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """A `UserError` unless these are arrays of different names, and not more than such an archive can honestly hold."""
    names = [m.filename for m in members]
    if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
        raise UserError(f"{path} is no NumPy archive: it holds other things than .npy arrays of different names")
    limit, total = GRACE + RATIO * path.stat().st_size, sum(m.file_size for m in members)
    if total > limit or len(members) > MOST_MEMBERS:
        raise UserError(
            f"{path} is refused, and nothing of it was unpacked: it declares {len(members):,} arrays of "
            f"{total:,} bytes, and a file of its size may have {limit:,}"
        )


def array_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Shaped[Tensor, "..."]:
    """One array: numbers only, and as many as its header says. Reading ends at the size that `member` declares."""
    content = archive.read(member)
    shape, by_columns, dtype, start = header_of(io.BytesIO(content))
    if dtype.hasobject or dtype.kind not in "fiu":
        raise ValueError(f"{member.filename} is of type {dtype}, not numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f"{member.filename} declares {' x '.join(map(str, shape))} values and has another number")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")
    return torch.from_numpy(values.astype(dtype.newbyteorder("="), order="C", copy=True))


def header_of(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """What an .npy file declares: shape, whether columns come first, type; and where its values start."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array of format {version}")
    shape, by_columns, dtype = read(file)
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("an array without a shape")
    return shape, by_columns, dtype, file.tell()


def in_pickle(path: Path) -> NamedTensors:
    """The tensors of a PyTorch pickle; one that asks for anything but tensors and plain values is a `UserError`."""
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if not zipped:  # the format before PyTorch 1.6, which allocates what it declares
            check_declared(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is amiss is said below, in one message
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UserError:
        raise
    except Exception as error:  # torch and pickle promise no list of what a broken pickle raises
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path} is refused and nothing in it was run: it asks for {printable(asked[1])}, and weights need "
                "no code. Give a file of tensors alone, such as torch.save(model.state_dict(), ...) writes"
            ) from None
        # PyTorch's own words would advise to run the file's code
        raise UserError(
            f"{path} cannot be read as a PyTorch file of tensors: it is damaged, of another kind, or holds more than "
            "tensors and plain values, and then nothing in it was run. Fetch it again, or give it the suffix of what "
            "it is"
        ) from None
    return unwrapped(path, held)


def check_declared(path: Path) -> None:
    """A `UserError` where the tensors in an old pickle claim more bytes than the file has; nothing is allocated."""
    with FakeTensorMode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held = torch.load(path, weights_only=True)
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors_in(held)}
    if (total := sum(storages.values())) > path.stat().st_size:
        raise UserError(
            f"{path} is refused, and nothing of it was loaded: its tensors claim {total:,} bytes, and the file has "
            f"{path.stat().st_size:,}"
        )


def tensors_in(held: Any) -> list[Tensor]:
    """Every tensor in nested dictionaries, lists and tuples."""
    if isinstance(held, Tensor):
        return [held]
    parts = held.values() if isinstance(held, Mapping) else held if isinstance(held, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def unwrapped(path: Path, held: Any) -> NamedTensors:
    """The state dict in what a training script saved, and a note of what stood beside it."""
    notes: list[str] = []
    if not isinstance(held, Mapping):
        raise UserError(f"{path} holds a {type(held).__name__}, not tensors by name; save model.state_dict()")
    wrapper = next((key for key in WRAPPERS if isinstance(held.get(key), Mapping)), None)
    if wrapper is not None:
        notes += beside(f"{wrapper!r} is taken", [str(key) for key in held if key != wrapper])
        held = held[wrapper]
    tensors = {str(name): value.detach() for name, value in held.items() if isinstance(value, Tensor)}
    notes += beside("tensors are taken", [str(name) for name in held if str(name) not in tensors]) * bool(tensors)
    return NamedTensors(tensors, tuple(notes))


def beside(taken: str, others: list[str]) -> list[str]:
    """A note of what is passed over, if anything is."""
    return [f"{taken}, {', '.join(map(repr, others[:10]))} passed over"] if others else []


def unreadable(path: Path, kind: str, error: Exception) -> UserError:
    """The error for a file that is not what its name says."""
    why = printable(str(error).split("\n")[0])[:200] or type(error).__name__
    return UserError(f"{path} cannot be read as {kind}: {why}. Fetch it again, or give it the suffix of what it is")


READERS: Mapping[str, Callable[[Path], NamedTensors]] = {
    ".safetensors": in_safetensors,
    ".npz": in_arrays,
    **dict.fromkeys((".pth", ".pt", ".th", ".bin", ".ckpt", ".tar"), in_pickle),
}
