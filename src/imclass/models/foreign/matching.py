"""Matching of another library's tensors to those of a network, with lists of missing, extra and wrong tensors."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.model_file import TRAINED_ON
from imclass.core.text import printable_text, suggestion
from imclass.models.classifier import describe_tensor, row_of
from imclass.models.entry import ForeignNetwork, NetworkEntry
from imclass.models.layers.sizes import map_side
from imclass.models.network import NORMALISATION, Network

NATIVE_NAMING = "imclass"
BATCH_COUNTER = "num_batches_tracked"  # of a batch norm; files older than PyTorch 0.4 do not have it
SIDES_PREFIX = "sides."
NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
# Name prefixes of linear layers for which another library has convolutions with kernels that cover the whole map.
CONVOLUTION_PREFIXES: Mapping[str, str] = {"timm": "pre_logits."}


@dataclass(frozen=True)
class TensorMatch:
    """A mapping from a network's tensors to those in a file.

    `pairs` maps each of our tensor names to the name in the file. `missing` lists our tensors that the file lacks, and
    `extra` lists the file's tensors that the network lacks. `wrong` lists tensors that have a different shape or type
    in the file, or values that are not finite.
    """

    network: str
    naming: str  # the library whose tensor names the file uses
    row: Any
    classes: int
    w_in: int
    pairs: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Return whether the file has exactly the network's tensors and all of them fit."""
        return not (self.missing or self.extra or self.wrong)


def best_match(
    network: str,
    entry: NetworkEntry,
    tensors: Mapping[str, Tensor],
    library: str | None = None,
    row: Mapping[str, Any] = NO_FIELDS,
) -> TensorMatch:
    """Return the best match of a file's tensors to a network. The match may be incomplete.

    The file's tensors are looked up under the names that `library` uses. If it is None, the names under which the most
    tensors match are used. `row` contains the fields of the network's row that are already known.
    """
    libraries = {NATIVE_NAMING: ForeignNetwork(network, str)} | dict(entry.foreign)
    if library is not None and library not in libraries:
        raise UserError(
            f"--from {library}: {network} has no counterpart in that library{suggestion(library, libraries)}"
        )
    names = [library] if library else [*entry.foreign, NATIVE_NAMING]
    candidates = {name: replace(libraries[name], row={**libraries[name].row, **row}) for name in names}
    return max((match_names(network, entry, tensors, *pair) for pair in candidates.items()), key=lambda f: len(f.pairs))


def match_names(
    network: str, entry: NetworkEntry, tensors: Mapping[str, Tensor], library: str, foreign: ForeignNetwork
) -> TensorMatch:
    """Match the tensors of a file to those of a network under one library's names.

    The network is built with that library's values in its row, and with the numbers of channels and classes in the
    file.
    """
    row = row_of(entry, dict(foreign.row), network)
    outline = meta_tensors(entry, row, entry.classes, entry.w_in)
    w_in = size_in(outline, "first", foreign, tensors, (1, 3)) or entry.w_in
    classes = size_in(outline, "last", foreign, tensors, range(2, 1_000_000)) or entry.classes
    if (classes, w_in) != (entry.classes, entry.w_in):
        outline = meta_tensors(entry, row, classes, w_in)
    notes: list[str] = []
    sides = [name for name in outline if name.startswith(SIDES_PREFIX)]
    if sides and not any(foreign.rename(name) in tensors for name in sides):
        row, note = drop_sides(entry, row)
        if note:
            notes.append(note)
        outline = meta_tensors(entry, row, classes, w_in)
    return match_tensors(
        TensorMatch(network, library, row, classes, w_in, notes=tuple(notes)), outline, foreign, tensors
    )


def meta_tensors(entry: NetworkEntry, row: Any, classes: int, w_in: int) -> dict[str, Tensor]:
    """Return the network's tensors except `mean` and `std`, on the "meta" device, where they need no memory."""
    with torch.device("meta"):
        network: Network = entry.build(row, classes, w_in)
    return {name: tensor for name, tensor in network.state_dict().items() if name not in NORMALISATION}


def size_in(
    outline: Mapping[str, Tensor],
    which: str,
    foreign: ForeignNetwork,
    tensors: Mapping[str, Tensor],
    likely: Collection[int],
) -> int | None:
    """Return the file's number of input channels or, if `which` is "last", its number of classes.

    The number is read from the shape of the first or last layer's weight. Return None if the file lacks this weight, if
    the weight has a different number of axes from ours, or if the number is not among `likely`.
    """
    layers = [name for name, tensor in outline.items() if not name.startswith(SIDES_PREFIX) and tensor.dim() >= 2]
    ours, axis = (layers[0], 1) if which == "first" else (layers[-1], 0)
    theirs = tensors.get(foreign.rename(ours))
    if theirs is None or theirs.dim() != outline[ours].dim() or theirs.shape[axis] not in likely:
        return None
    return int(theirs.shape[axis])


def drop_sides(entry: NetworkEntry, row: Any) -> tuple[Any, str]:
    """Return the row with its auxiliary heads turned off, and a note for the user.

    If no field of the row turns them off, return the row unchanged and "".
    """
    for switch in fields(row):
        if getattr(row, switch.name) is True:
            other = replace(row, **{switch.name: False})
            outline = meta_tensors(entry, other, entry.classes, entry.w_in)
            if not any(name.startswith(SIDES_PREFIX) for name in outline):
                return other, f"the file has no auxiliary heads: {switch.name} = false"
    return row, ""


def match_tensors(
    match: TensorMatch, outline: Mapping[str, Tensor], foreign: ForeignNetwork, tensors: Mapping[str, Tensor]
) -> TensorMatch:
    """Look up each of our tensors under its foreign name, and return the match with the results."""
    pairs: dict[str, str] = {}
    missing, wrong, counters = [], [], 0
    for ours, wanted in outline.items():
        theirs = foreign.rename(ours)
        found = tensors.get(theirs)
        if found is None and ours.endswith(BATCH_COUNTER):
            counters += 1
        elif found is None:
            missing.append(display_name(ours, theirs))
        elif reason := mismatch_reason(wanted, found):
            wrong.append(f"{display_name(ours, theirs)}: {reason}")
        else:
            pairs[ours] = theirs
    foreign_names = {foreign.rename(ours) for ours in outline}
    ignored = NORMALISATION if match.naming == NATIVE_NAMING else ()
    extra = [printable_text(name) for name in tensors if name not in foreign_names and name not in ignored]
    notes = [*match.notes, *conversion_notes([tensors[name] for name in pairs.values()], counters)]
    if match.naming == NATIVE_NAMING and TRAINED_ON in tensors:
        notes.append("the file is an imclass model: every command reads it without an import")
    return replace(
        match, pairs=pairs, missing=tuple(missing), extra=tuple(extra), wrong=tuple(wrong), notes=tuple(notes)
    )


def display_name(ours: str, theirs: str) -> str:
    """Return a tensor's name for a message, or both of its names if they differ."""
    return ours if ours == theirs else f"{theirs} (our {ours})"


def mismatch_reason(wanted: Tensor, found: Tensor) -> str:
    """Return the reason why `found` cannot be loaded as `wanted`, or "" if it can."""
    if not has_same_form(wanted, found):
        return f"{describe_tensor(found)} in the file, {describe_tensor(wanted)} in the network"
    if wanted.is_floating_point() != found.is_floating_point() or found.is_complex() or found.is_quantized:
        return f"of type {found.dtype} in the file, {wanted.dtype} in the network"
    if found.is_floating_point() and not bool(torch.isfinite(found.float()).all()):
        return "some of its values are not finite"
    return ""


def has_same_form(wanted: Tensor, found: Tensor) -> bool:
    """Return whether the shapes are equal, or belong to a linear layer and an equivalent convolution."""
    if wanted.shape == found.shape:
        return True
    dense = 2 in (wanted.dim(), found.dim()) and 4 in (wanted.dim(), found.dim())
    return dense and wanted.shape[0] == found.shape[0] and prod(wanted.shape) == prod(found.shape)


def conversion_notes(found: list[Tensor], counters: int) -> Iterator[str]:
    """Yield notes on tensors that are converted to float32 and on missing batch counters."""
    kinds = Counter(tensor.dtype for tensor in found if tensor.is_floating_point() and tensor.dtype != torch.float32)
    for kind, n in kinds.items():
        yield f"{n:,} tensors are {str(kind).removeprefix('torch.')} in the file and become float32"
    if counters:
        yield f"{counters:,} batch counters are missing from the file and start at 0"


def convert_tensors(
    match: TensorMatch, outline: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Convert the file's tensors to our names, shapes and types. Batch counters that the file lacks are set to 0."""
    converted = {}
    for ours, wanted in outline.items():
        if ours in match.pairs:
            converted[ours] = tensors[match.pairs[ours]].to(wanted.dtype).reshape(wanted.shape).contiguous()
        else:
            converted[ours] = torch.zeros(wanted.shape, dtype=wanted.dtype)
    return converted


def foreign_tensors(network: Network, library: str, foreign: ForeignNetwork) -> dict[str, Tensor]:
    """Return the network's tensors except `mean` and `std`, under a library's names and in its shapes."""
    found: dict[str, Tensor] = {}
    side = map_side(network.features, network.size, network.w_in)  # of the maps that the first linear layer receives
    for ours, tensor in network.state_dict().items():
        if ours in NORMALISATION:
            continue
        theirs = foreign.rename(ours)
        if library in CONVOLUTION_PREFIXES and theirs.startswith(CONVOLUTION_PREFIXES[library]) and tensor.dim() == 2:
            tensor = tensor.unflatten(1, (-1, side, side))
            side = 1  # later layers receive a map of one position
        found[theirs] = tensor.detach().cpu().contiguous()
    return found
