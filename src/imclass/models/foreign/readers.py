"""Files of weights from elsewhere, read as named tensors without trust: safetensors, NumPy archives, PyTorch pickles.

Nothing in a file is run, and no size that it declares is allocated before the file has been found to hold as much.
PyTorch's zip files and safetensors are mapped into memory, privately: the file on the disk stays as it is.
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
from imclass.models.foreign.pickles import entry_of, plain_entries, read_pickle
from imclass.store.untrusted import GRACE_BYTES, MAX_RATIO

EXPORT_KEY = "imclass_export"  # the key of what our export says of the model, see export.py
# DataParallel's, torch.compile's, and those of modules that hold the network as an attribute, such as Lightning's.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
# The first spelling of torchvision's DenseNet, which is still the one in its files.
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
MAX_ARRAYS = 20_000


@dataclass(frozen=True)
class NamedTensors:
    """What a file holds, by its own names, what was passed over or renamed (a sentence each), and our export's record.

    The record is JSON, "" where the file is not an export of ours.
    """

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    record: str = ""


def read_tensors(path: Path, key: str | None = None) -> NamedTensors:
    """Return the tensors in a file of the kind that its suffix names; raise `UserError` for one that is not.

    `key` names the entry of a training checkpoint that holds them, where several do.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix not in WEIGHT_READERS:
        hint = "; a caffemodel must be made into an .npz first" if suffix == ".caffemodel" else ""
        kinds = suggestion(suffix, WEIGHT_READERS) or f"; there are: {', '.join(WEIGHT_READERS)}"
        raise UserError(f"{path}: {path.suffix or 'a file without suffix'} is no kind of weights{kinds}{hint}")
    if key is not None and WEIGHT_READERS[suffix] is not read_state_dict:
        raise UserError(f"--key {key}: {path} holds tensors alone; only a PyTorch file has entries to choose from")
    held = read_state_dict(path, key) if WEIGHT_READERS[suffix] is read_state_dict else WEIGHT_READERS[suffix](path)
    if not held.tensors:
        raise UserError(f"{path} holds no tensors; give the file of a network's state dict")
    return normalise_names(held)


def normalise_names(held: NamedTensors) -> NamedTensors:
    """Return the same under the names that the network itself gave: prefixes off, old spellings made new."""
    names = {name: name for name in held.tensors}
    notes = list(held.notes)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names.values())), None):
        names = {name: plain.removeprefix(prefix) for name, plain in names.items()}
        notes.append(f"all names begin with {prefix!r}, which is left off")
    names = {name: OLD_NAME.sub(r"\1\2", plain) for name, plain in names.items()}
    return replace(held, tensors={names[n]: tensor for n, tensor in held.tensors.items()}, notes=tuple(notes))


def read_safetensors(path: Path) -> NamedTensors:
    """Return the tensors of a safetensors file, whose library checks every length against the file."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            return NamedTensors(tensors, record=(file.metadata() or {}).get(EXPORT_KEY, ""))
    except Exception as error:  # its errors have no common class below this one
        raise unreadable_file(path, "a safetensors file", error) from None


def read_arrays(path: Path) -> NamedTensors:
    """The arrays of an .npz archive; one that declares more than its size allows is a `UserError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            check_members(path, members)
            return NamedTensors({m.filename.removesuffix(".npy"): array_of(archive, m) for m in members})
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy raise what they like on damaged files
        raise unreadable_file(path, "a NumPy archive of arrays", error) from None


def check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """A `UserError` unless these are arrays of different names, and not more than such an archive can honestly hold."""
    names = [m.filename for m in members]
    if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
        raise UserError(f"{path} is no NumPy archive: it holds other things than .npy arrays of different names")
    limit, total = GRACE_BYTES + MAX_RATIO * path.stat().st_size, sum(m.file_size for m in members)
    if total > limit or len(members) > MAX_ARRAYS:
        raise UserError(
            f"{path} is refused, and nothing of it was unpacked: it declares {len(members):,} arrays of "
            f"{total:,} bytes, and a file of its size may have {limit:,}"
        )


def array_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Shaped[Tensor, "..."]:
    """One array: numbers only, and as many as its header says. Reading ends at the size that `member` declares."""
    content = archive.read(member)
    shape, by_columns, dtype, start = array_header(io.BytesIO(content))
    if dtype.hasobject or dtype.kind not in "fiu":
        raise ValueError(f"{member.filename} is of type {dtype}, not numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f"{member.filename} declares {' x '.join(map(str, shape))} values and has another number")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")
    return torch.from_numpy(values.astype(dtype.newbyteorder("="), order="C", copy=True))


def array_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """What an .npy file declares: shape, whether columns come first, type; and where its values start."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array of format {version}")
    shape, by_columns, dtype = read(file)
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("an array without a shape")
    return shape, by_columns, dtype, file.tell()


def read_state_dict(path: Path, key: str | None = None) -> NamedTensors:
    """Return the state dict in what a training script saved, and notes of the rest.

    `key` names the entry that holds it; without one, it is the file itself or the only entry that can be it.
    """
    whole, stand_ins = read_pickle(path)
    if not isinstance(whole, dict):
        raise UserError(f"{path} holds a {type(whole).__name__}, not tensors by name; save model.state_dict()")
    held = {str(name): value for name, value in plain_entries(whole).items()}
    notes = [f"objects of {list_names(stand_ins, 5)} are left out: no code in a file is run"] * bool(stand_ins)
    taken = entry_of(path, held, key, stand_ins)
    if taken:
        notes += skipped_notes(f"{taken!r} is taken", [name for name in held if name != taken])
        whole = held[taken]
        held = {str(name): value for name, value in plain_entries(whole).items()}
    tensors = {name: value.detach() for name, value in held.items() if isinstance(value, Tensor)}
    notes += skipped_notes("tensors are taken", [name for name in held if name not in tensors])
    metadata = vars(whole).get("_metadata") if isinstance(whole, OrderedDict) else None
    record = metadata.get(EXPORT_KEY, "") if isinstance(metadata, dict) else ""
    return NamedTensors(tensors, tuple(notes), str(record))


def skipped_notes(taken: str, others: Sequence[str]) -> list[str]:
    """Return a note of what is passed over, if anything is."""
    return [f"{taken}, {list_names(others)} passed over"] if others else []


def unreadable_file(path: Path, kind: str, error: Exception) -> UserError:
    """The error for a file that is not what its name says."""
    why = printable_text(str(error).split("\n")[0])[:200] or type(error).__name__
    return UserError(f"{path} cannot be read as {kind}: {why}. Fetch it again, or give it the suffix of what it is")


WEIGHT_READERS: Mapping[str, Callable[[Path], NamedTensors]] = {
    ".safetensors": read_safetensors,
    ".npz": read_arrays,
    **dict.fromkeys((".pth", ".pt", ".th", ".bin", ".ckpt", ".tar"), read_state_dict),
}
