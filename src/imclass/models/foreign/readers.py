"""Readers of weight files from untrusted sources: safetensors, NumPy archives, Caffe models and PyTorch pickles.

No code in a file is run, and the size of the file limits how much memory is allocated. PyTorch's zip files and
safetensors are mapped into memory privately, so that the file on disk never changes.
"""

import io
import math
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors
import torch
from jaxtyping import Shaped
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.text import list_names, printable_text, suggestion
from imclass.models.foreign.caffemodel import caffe_tensors
from imclass.models.foreign.pickles import entry_of, plain_entries, read_pickle
from imclass.store.untrusted import GRACE_BYTES, MAX_RATIO

EXPORT_KEY = "imclass_export"  # the key of the record in our exports, see export.py
# Added by DataParallel, by torch.compile, and by modules that hold the network as an attribute, such as Lightning's.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
# The original spelling of DenseNet layer names, which torchvision's files still use.
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
MAX_ARRAYS = 20_000


@dataclass(frozen=True)
class NamedTensors:
    """A file's tensors by name, with notes and the export record."""

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()  # sentences about everything that was skipped or renamed
    record: str = ""  # JSON, or "" if the file is not one of our exports


def read_tensors(path: Path, key: str | None = None) -> NamedTensors:
    """Read the tensors in a weight file. The file's extension determines the format.

    Raise a `UserError` if the file does not have that format. `key` is the name of the checkpoint entry that contains
    the weights. It is needed if several entries could contain them.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; check the path")
    extension = path.suffix.lower()
    if extension not in WEIGHT_READERS:
        kind = f"{path.suffix} files" if path.suffix else "files without an extension"
        raise UserError(f"{path}: {kind} cannot be read as weights{suggestion(extension, WEIGHT_READERS)}")
    if key is not None and WEIGHT_READERS[extension] is not read_state_dict:
        raise UserError(f"--key {key}: {path} contains only tensors. Drop --key, which is for PyTorch files")
    held = (
        read_state_dict(path, key) if WEIGHT_READERS[extension] is read_state_dict else WEIGHT_READERS[extension](path)
    )
    if not held.tensors:
        raise UserError(f"{path} contains no tensors. Choose a file with a network's state dict")
    return normalise_names(held)


def normalise_names(held: NamedTensors) -> NamedTensors:
    """Remove the prefixes of wrappers from the tensors' names, and replace old spellings with current ones."""
    names = {name: name for name in held.tensors}
    notes = list(held.notes)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names.values())), None):
        names = {name: plain.removeprefix(prefix) for name, plain in names.items()}
        notes.append(f"all names begin with {prefix!r}, which is removed")
    names = {name: OLD_NAME.sub(r"\1\2", plain) for name, plain in names.items()}
    return replace(held, tensors={names[n]: tensor for n, tensor in held.tensors.items()}, notes=tuple(notes))


def read_safetensors(path: Path) -> NamedTensors:
    """Read a safetensors file. The library checks every length against the file's size."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            return NamedTensors(tensors, record=(file.metadata() or {}).get(EXPORT_KEY, ""))
    except Exception as error:  # the library's errors have no narrower base class in common
        raise unreadable_file(path, "a safetensors file", error) from None


def read_arrays(path: Path) -> NamedTensors:
    """Read an .npz archive. Raise a `UserError` if the archive declares more data than its size allows."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            check_members(path, members)
            return NamedTensors({m.filename.removesuffix(".npy"): array_of(archive, m) for m in members})
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy do not document what a damaged file raises
        raise unreadable_file(path, "a NumPy archive of arrays", error) from None


def check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise a `UserError` unless the members are arrays with distinct names and a plausible total size."""
    names = [m.filename for m in members]
    if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
        raise UserError(
            f"{path} is not a NumPy archive: it contains files other than .npy arrays, or several of the same name"
        )
    limit = GRACE_BYTES + MAX_RATIO * path.stat().st_size
    total = sum(m.file_size for m in members)
    if total > limit or len(members) > MAX_ARRAYS:
        raise UserError(
            f"{path} is refused and nothing in it was unpacked: it declares {len(members):,} arrays of "
            f"{total:,} bytes in total, but a file of its size may have at most {MAX_ARRAYS:,} arrays and {limit:,} "
            "bytes"
        )


def array_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Shaped[Tensor, "..."]:
    """Read one array of an archive.

    Reading stops at the size that `member` declares. Raise a `ValueError` if the array does not contain numbers, or has
    more or fewer values than its header declares.
    """
    content = archive.read(member)
    shape, by_columns, dtype, start = array_header(io.BytesIO(content))
    if dtype.hasobject or dtype.kind not in "fiu":
        raise ValueError(f"{member.filename} is of type {dtype}, not numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f"{member.filename} does not have the {' x '.join(map(str, shape))} values that it declares")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")
    return torch.from_numpy(values.astype(dtype.newbyteorder("="), order="C", copy=True))


def array_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return an array's shape, whether it is stored by columns, its type, and the offset of its values in the file."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"it contains an array of the unknown format {version}")
    shape, by_columns, dtype = read(file)
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("it contains an array without a shape")
    return shape, by_columns, dtype, file.tell()


def read_caffemodel(path: Path) -> NamedTensors:
    """Read a Caffe model's weights. The rest of the network's description is ignored."""
    try:
        return NamedTensors(caffe_tensors(memoryview(path.read_bytes())))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise unreadable_file(path, "a Caffe model", error) from None


def read_state_dict(path: Path, key: str | None = None) -> NamedTensors:
    """Read the state dict in a PyTorch file. The notes list the file's other contents.

    `key` is the name of the entry that contains the state dict. If it is None, the state dict is the whole file or the
    only suitable entry.
    """
    whole, stand_ins = read_pickle(path)
    if not isinstance(whole, dict):
        raise UserError(f"{path} contains a {type(whole).__name__}, not named tensors. Save model.state_dict() instead")
    held = {str(name): value for name, value in plain_entries(whole).items()}
    notes = []
    if stand_ins:
        notes.append(f"objects of {list_names(stand_ins, 5)} are left out, because no code in a file is run")
    chosen = entry_of(path, held, key, stand_ins)
    if chosen:
        notes += skipped_notes(f"{chosen!r} is used", [name for name in held if name != chosen])
        whole = held[chosen]
        held = {str(name): value for name, value in plain_entries(whole).items()}
    tensors = {name: value.detach() for name, value in held.items() if isinstance(value, Tensor)}
    notes += skipped_notes("tensors are used", [name for name in held if name not in tensors])
    metadata = vars(whole).get("_metadata") if isinstance(whole, OrderedDict) else None
    record = metadata.get(EXPORT_KEY, "") if isinstance(metadata, dict) else ""
    return NamedTensors(tensors, tuple(notes), str(record))


def skipped_notes(used: str, others: Sequence[str]) -> list[str]:
    """Return a list with a note on the ignored entries, or an empty list if there are none."""
    return [f"{used}, {list_names(others)} ignored"] if others else []


def unreadable_file(path: Path, kind: str, error: Exception) -> UserError:
    """Return the error for a file that is damaged or has the wrong extension."""
    reason = printable_text(str(error).split("\n")[0])[:200] or type(error).__name__
    return UserError(
        f"{path} cannot be read as {kind}: {reason}. Download the file again, or correct its file extension"
    )


WEIGHT_READERS: Mapping[str, Callable[[Path], NamedTensors]] = {
    ".safetensors": read_safetensors,
    ".npz": read_arrays,
    ".caffemodel": read_caffemodel,
    **dict.fromkeys((".pth", ".pt", ".th", ".bin", ".ckpt", ".tar"), read_state_dict),
}
