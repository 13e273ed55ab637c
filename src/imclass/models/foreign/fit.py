"""How another library's tensors fit a network of ours: by whose names, what is missing, extra, or of another shape."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.text import printable_text, suggestion
from imclass.models.classifier import describe_tensor, row_of
from imclass.models.entry import ForeignNetwork, NetworkEntry
from imclass.models.layers.sizes import map_side
from imclass.models.network import NORMALISATION, Network

NATIVE_NAMING = "imclass"  # the library whose names are our own
BATCH_COUNTER = "num_batches_tracked"  # of a batch norm; files from before PyTorch 0.4 have none
SIDES_PREFIX = "sides."
NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
# A Linear of ours that another library keeps as a convolution with the whole map as its kernel.
CONVOLUTION_PREFIXES: Mapping[str, str] = {"timm": "pre_logits."}


@dataclass(frozen=True)
class Fit:
    """What of a file is what of a network: `pairs` name our tensors and theirs."""

    network: str
    naming: str  # the library whose names the file uses
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
        """Whether the file fills the network, with nothing left over."""
        return not (self.missing or self.extra or self.wrong)


def best_fit(
    network: str,
    entry: NetworkEntry,
    tensors: Mapping[str, Tensor],
    library: str | None = None,
    row: Mapping[str, Any] = NO_FIELDS,
) -> Fit:
    """Return the fit under the library whose names the file uses, or under the one given. Whether it loads, it says.

    `row` holds fields of the network's row that are known of the file.
    """
    libraries = {NATIVE_NAMING: ForeignNetwork(network, str)} | dict(entry.foreign)
    if library is not None and library not in libraries:
        raise UserError(f"--from {library}: {network} has no names of that library{suggestion(library, libraries)}")
    tried = {one: libraries[one] for one in ([library] if library else [*entry.foreign, NATIVE_NAMING])}
    known = {one: replace(foreign, row={**foreign.row, **row}) for one, foreign in tried.items()}
    return max((fit_under(network, entry, tensors, *one) for one in known.items()), key=lambda f: len(f.pairs))


def fit_under(
    network: str, entry: NetworkEntry, tensors: Mapping[str, Tensor], library: str, foreign: ForeignNetwork
) -> Fit:
    """The fit under one library's names, with its changes of the row, and the file's channels and number of classes."""
    row = row_of(entry, dict(foreign.row), network)
    outline = meta_tensors(entry, row, entry.classes, entry.w_in)
    w_in = size_in(outline, "first", foreign, tensors, (1, 3)) or entry.w_in
    classes = size_in(outline, "last", foreign, tensors, range(2, 1_000_000)) or entry.classes
    outline = meta_tensors(entry, row, classes, w_in)
    notes: list[str] = []
    sides = [name for name in outline if name.startswith(SIDES_PREFIX)]
    if sides and not any(foreign.rename(name) in tensors for name in sides):
        row, said = drop_sides(entry, row)
        notes += [said] * bool(said)
        outline = meta_tensors(entry, row, classes, w_in)
    return match_tensors(Fit(network, library, row, classes, w_in, notes=tuple(notes)), outline, foreign, tensors)


def meta_tensors(entry: NetworkEntry, row: Any, classes: int, w_in: int) -> dict[str, Tensor]:
    """The network's tensors without memory, on the "meta" device, those of its normalisation not among them."""
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
    """Channels of the file's first layer, or outputs of its last; None where the file does not say, or not likely."""
    main = [name for name, tensor in outline.items() if not name.startswith(SIDES_PREFIX) and tensor.dim() >= 2]
    ours, axis = (main[0], 1) if which == "first" else (main[-1], 0)
    theirs = tensors.get(foreign.rename(ours))
    known = theirs is not None and theirs.dim() == outline[ours].dim() and theirs.shape[axis] in likely
    return int(theirs.shape[axis]) if theirs is not None and known else None


def drop_sides(entry: NetworkEntry, row: Any) -> tuple[Any, str]:
    """The row with its auxiliary heads switched off, and a note; the row as it is where no field does that."""
    for one in fields(row):
        if getattr(row, one.name) is True:
            other = replace(row, **{one.name: False})
            outline = meta_tensors(entry, other, entry.classes, entry.w_in)
            if not any(name.startswith(SIDES_PREFIX) for name in outline):
                return other, f"no auxiliary heads are in the file: {one.name} = false"
    return row, ""


def match_tensors(
    fit: Fit, outline: Mapping[str, Tensor], foreign: ForeignNetwork, tensors: Mapping[str, Tensor]
) -> Fit:
    """The fit with each tensor of ours looked up under its foreign name, and what is left of theirs."""
    pairs: dict[str, str] = {}
    missing, wrong, counters = [], [], 0
    for ours, wanted in outline.items():
        theirs = foreign.rename(ours)
        found = tensors.get(theirs)
        if found is None and ours.endswith(BATCH_COUNTER):
            counters += 1
        elif found is None:
            missing.append(display_name(ours, theirs))
        elif why := misfit(wanted, found):
            wrong.append(f"{display_name(ours, theirs)}: {why}")
        else:
            pairs[ours] = theirs
    renamed = {foreign.rename(ours) for ours in outline}
    passed = NORMALISATION if fit.naming == NATIVE_NAMING else ()
    extra = [printable_text(name) for name in tensors if name not in renamed and name not in passed]
    notes = [*fit.notes, *remarks([tensors[name] for name in pairs.values()], counters)]
    return replace(fit, pairs=pairs, missing=tuple(missing), extra=tuple(extra), wrong=tuple(wrong), notes=tuple(notes))


def display_name(ours: str, theirs: str) -> str:
    """A tensor in a message, by both its names where they differ."""
    return ours if ours == theirs else f"{theirs} (our {ours})"


def misfit(wanted: Tensor, found: Tensor) -> str:
    """Why `found` cannot be `wanted`; "" where it can."""
    if not has_same_form(wanted, found):
        return f"{describe_tensor(found)} in the file, {describe_tensor(wanted)} in the network"
    if wanted.is_floating_point() != found.is_floating_point() or found.is_complex() or found.is_quantized:
        return f"of type {found.dtype} in the file, {wanted.dtype} in the network"
    if found.is_floating_point() and not bool(torch.isfinite(found.float()).all()):
        return "some of its values are not finite"
    return ""


def has_same_form(wanted: Tensor, found: Tensor) -> bool:
    """Equal shapes, or a fully connected layer in one and the convolution that does the same in the other."""
    if wanted.shape == found.shape:
        return True
    dense = 2 in (wanted.dim(), found.dim()) and 4 in (wanted.dim(), found.dim())
    return dense and wanted.shape[0] == found.shape[0] and prod(wanted.shape) == prod(found.shape)


def remarks(found: list[Tensor], counters: int) -> Iterator[str]:
    """What is done to tensors that are not float32, and for counters that are not there."""
    kinds = Counter(tensor.dtype for tensor in found if tensor.is_floating_point() and tensor.dtype != torch.float32)
    for kind, n in kinds.items():
        yield f"{n:,} tensors are {str(kind).removeprefix('torch.')} in the file and become float32"
    if counters:
        yield f"{counters:,} counters of batches are not in the file and begin at 0"


def convert_tensors(fit: Fit, outline: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors with the file's values, in our shapes and types; absent counters are 0."""
    made = {}
    for ours, wanted in outline.items():
        if ours in fit.pairs:
            made[ours] = tensors[fit.pairs[ours]].to(wanted.dtype).reshape(wanted.shape).contiguous()
        else:
            made[ours] = torch.zeros(wanted.shape, dtype=wanted.dtype)
    return made


def foreign_tensors(network: Network, library: str, foreign: ForeignNetwork) -> dict[str, Tensor]:
    """The network's tensors under a library's names and in its shapes, without the normalisation."""
    found: dict[str, Tensor] = {}
    side = map_side(network.features, network.size, network.w_in)  # of the maps that the first hidden layer sees
    for ours, tensor in network.state_dict().items():
        if ours in NORMALISATION:
            continue
        theirs = foreign.rename(ours)
        if library in CONVOLUTION_PREFIXES and theirs.startswith(CONVOLUTION_PREFIXES[library]) and tensor.dim() == 2:
            tensor, side = tensor.unflatten(1, (-1, side, side)), 1
        found[theirs] = tensor.detach().cpu().contiguous()
    return found
