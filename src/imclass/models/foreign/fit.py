"""Fit of another library's tensors to a network of ours: missing, extra and wrong ones under that library's names."""

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
BATCH_COUNTER = "num_batches_tracked"  # of a batch norm; files from before PyTorch 0.4 do not have it
SIDES_PREFIX = "sides."
NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
# Linear layers of ours that another library stores as a convolution whose kernel covers the map.
CONVOLUTION_PREFIXES: Mapping[str, str] = {"timm": "pre_logits."}


@dataclass(frozen=True)
class Fit:
    """Mapping of a file's tensors onto a network's. `pairs` maps each of our names to theirs.

    `missing` are tensors of ours that the file lacks, `extra` tensors of the file that the network lacks, and `wrong`
    those of another shape or type.
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
    def loads(self) -> bool:
        """Return whether the file has every tensor of the network and no others."""
        return not (self.missing or self.extra or self.wrong)


def best_fit(
    network: str,
    entry: NetworkEntry,
    tensors: Mapping[str, Tensor],
    library: str | None = None,
    row: Mapping[str, Any] = NO_FIELDS,
) -> Fit:
    """Return the fit under the given library's names, or under those by which most tensors fit.

    The fit may be one that does not load. `row` holds fields of the network's row that are known for the file.
    """
    libraries = {NATIVE_NAMING: ForeignNetwork(network, str)} | dict(entry.foreign)
    if library is not None and library not in libraries:
        raise UserError(f"--from {library}: {network} has no names of that library{suggestion(library, libraries)}")
    names = [library] if library else [*entry.foreign, NATIVE_NAMING]
    candidates = {name: replace(libraries[name], row={**libraries[name].row, **row}) for name in names}
    return max((fit_under(network, entry, tensors, *pair) for pair in candidates.items()), key=lambda f: len(f.pairs))


def fit_under(
    network: str, entry: NetworkEntry, tensors: Mapping[str, Tensor], library: str, foreign: ForeignNetwork
) -> Fit:
    """Return the fit under one library's names.

    The network takes that library's fields of the row, and the file's number of channels and classes.
    """
    row = row_of(entry, dict(foreign.row), network)
    outline = meta_tensors(entry, row, entry.classes, entry.w_in)
    w_in = size_in(outline, "first", foreign, tensors, (1, 3)) or entry.w_in
    classes = size_in(outline, "last", foreign, tensors, range(2, 1_000_000)) or entry.classes
    outline = meta_tensors(entry, row, classes, w_in)
    notes: list[str] = []
    sides = [name for name in outline if name.startswith(SIDES_PREFIX)]
    if sides and not any(foreign.rename(name) in tensors for name in sides):
        row, note = drop_sides(entry, row)
        if note:
            notes.append(note)
        outline = meta_tensors(entry, row, classes, w_in)
    return match_tensors(Fit(network, library, row, classes, w_in, notes=tuple(notes)), outline, foreign, tensors)


def meta_tensors(entry: NetworkEntry, row: Any, classes: int, w_in: int) -> dict[str, Tensor]:
    """Return the network's tensors on the "meta" device, which needs no memory. The normalisation is left out."""
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
    """Return the input channels of the file's first layer, or the outputs of its last.

    Return None if the file does not have that layer with our number of axes, or its number is not among `likely`.
    """
    layers = [name for name, tensor in outline.items() if not name.startswith(SIDES_PREFIX) and tensor.dim() >= 2]
    ours, axis = (layers[0], 1) if which == "first" else (layers[-1], 0)
    theirs = tensors.get(foreign.rename(ours))
    if theirs is None or theirs.dim() != outline[ours].dim() or theirs.shape[axis] not in likely:
        return None
    return int(theirs.shape[axis])


def drop_sides(entry: NetworkEntry, row: Any) -> tuple[Any, str]:
    """Return the row without its auxiliary heads, and a note; or the same row and "" if no field turns them off."""
    for switch in fields(row):
        if getattr(row, switch.name) is True:
            other = replace(row, **{switch.name: False})
            outline = meta_tensors(entry, other, entry.classes, entry.w_in)
            if not any(name.startswith(SIDES_PREFIX) for name in outline):
                return other, f"the file has no auxiliary heads: {switch.name} = false"
    return row, ""


def match_tensors(
    fit: Fit, outline: Mapping[str, Tensor], foreign: ForeignNetwork, tensors: Mapping[str, Tensor]
) -> Fit:
    """Return the fit after looking up each of our tensors under its foreign name."""
    pairs: dict[str, str] = {}
    missing, wrong, counters = [], [], 0
    for ours, wanted in outline.items():
        theirs = foreign.rename(ours)
        found = tensors.get(theirs)
        if found is None and ours.endswith(BATCH_COUNTER):
            counters += 1
        elif found is None:
            missing.append(display_name(ours, theirs))
        elif reason := misfit(wanted, found):
            wrong.append(f"{display_name(ours, theirs)}: {reason}")
        else:
            pairs[ours] = theirs
    foreign_names = {foreign.rename(ours) for ours in outline}
    ignored = NORMALISATION if fit.naming == NATIVE_NAMING else ()
    extra = [printable_text(name) for name in tensors if name not in foreign_names and name not in ignored]
    notes = [*fit.notes, *remarks([tensors[name] for name in pairs.values()], counters)]
    if fit.naming == NATIVE_NAMING and TRAINED_ON in tensors:
        notes.append("the file is an imclass model: every command reads it without an import")
    return replace(fit, pairs=pairs, missing=tuple(missing), extra=tuple(extra), wrong=tuple(wrong), notes=tuple(notes))


def display_name(ours: str, theirs: str) -> str:
    """Name a tensor in a message, by both names if they differ."""
    return ours if ours == theirs else f"{theirs} (our {ours})"


def misfit(wanted: Tensor, found: Tensor) -> str:
    """Return the reason why `found` cannot fill `wanted`, or "" if it can."""
    if not has_same_form(wanted, found):
        return f"{describe_tensor(found)} in the file, {describe_tensor(wanted)} in the network"
    if wanted.is_floating_point() != found.is_floating_point() or found.is_complex() or found.is_quantized:
        return f"of type {found.dtype} in the file, {wanted.dtype} in the network"
    if found.is_floating_point() and not bool(torch.isfinite(found.float()).all()):
        return "some of its values are not finite"
    return ""


def has_same_form(wanted: Tensor, found: Tensor) -> bool:
    """Return whether the shapes are equal, or those of a linear layer and the convolution that computes the same."""
    if wanted.shape == found.shape:
        return True
    dense = 2 in (wanted.dim(), found.dim()) and 4 in (wanted.dim(), found.dim())
    return dense and wanted.shape[0] == found.shape[0] and prod(wanted.shape) == prod(found.shape)


def remarks(found: list[Tensor], counters: int) -> Iterator[str]:
    """Yield notes on tensors that become float32 and on missing counters of batches."""
    kinds = Counter(tensor.dtype for tensor in found if tensor.is_floating_point() and tensor.dtype != torch.float32)
    for kind, n in kinds.items():
        yield f"{n:,} tensors are {str(kind).removeprefix('torch.')} in the file and become float32"
    if counters:
        yield f"{counters:,} counters of batches are missing from the file and begin at 0"


def convert_tensors(fit: Fit, outline: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our tensors with the file's values, in our shapes and types. Counters that the file lacks are 0."""
    converted = {}
    for ours, wanted in outline.items():
        if ours in fit.pairs:
            converted[ours] = tensors[fit.pairs[ours]].to(wanted.dtype).reshape(wanted.shape).contiguous()
        else:
            converted[ours] = torch.zeros(wanted.shape, dtype=wanted.dtype)
    return converted


def foreign_tensors(network: Network, library: str, foreign: ForeignNetwork) -> dict[str, Tensor]:
    """Return the network's tensors under a library's names and in its shapes, without the normalisation."""
    found: dict[str, Tensor] = {}
    side = map_side(network.features, network.size, network.w_in)  # of the maps that the first linear layer takes
    for ours, tensor in network.state_dict().items():
        if ours in NORMALISATION:
            continue
        theirs = foreign.rename(ours)
        if library in CONVOLUTION_PREFIXES and theirs.startswith(CONVOLUTION_PREFIXES[library]) and tensor.dim() == 2:
            tensor = tensor.unflatten(1, (-1, side, side))
            side = 1  # later layers take a map of one position
        found[theirs] = tensor.detach().cpu().contiguous()
    return found
