"""Initialisation of a network with the weights of another network.

Tensors are matched by name and shape. In tensors with one row per class, the rows are matched by class name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from imclass.core.classes import class_key
from imclass.core.errors import UserError
from imclass.core.text import printable_text
from imclass.models.classifier import NetworkClassifier
from imclass.models.network import NORMALISATION, Network

BeginMode: TypeAlias = Literal["continue", "fresh", "first-and-last"]
MAX_NAMES = 6  # a message lists at most this many names


@dataclass(frozen=True)
class Beginning:
    """A record of the weights that a network received from another network, and of those that remain random.

    `fresh` includes the tensors that received the rows of only some classes.
    """

    taken: tuple[str, ...]  # tensors that were copied completely
    rows: tuple[str, ...]  # classes whose rows were copied
    fresh: tuple[str, ...]  # tensors that keep random weights, at least in part
    classes: int  # the number of classes of the network that receives the weights

    def __str__(self) -> str:
        """Return a summary of the record for the user."""
        if not self.taken and not self.rows:
            return f"all {len(self.fresh):,} tensors were drawn at random"
        parts = [f"{len(self.taken):,} of {len(self.taken) + len(self.fresh):,} tensors copied"]
        if self.fresh:
            layers = [name.rpartition(".")[0] or name for name in self.fresh]
            parts.append(f"drawn at random: {shortlist(tuple(dict.fromkeys(layers)))}")
        names = f": {shortlist(self.rows)}" if self.rows and len(self.rows) < self.classes else ""
        parts.append(f"rows of {len(self.rows):,} of {self.classes:,} classes copied{names}")
        return "; ".join(parts)


def shortlist(names: tuple[str, ...]) -> str:
    """Return the first few names as text that is safe to print, followed by the number of names left out."""
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(printable_text, names[:MAX_NAMES])) + more


def begin(classifier: NetworkClassifier, source: NetworkClassifier, how: BeginMode) -> Beginning:
    """Copy weights from `source` into a fresh classifier's network in place, and return a record of what was copied.

    If `how` is "continue", every tensor with the same name and shape in both networks is copied. In tensors with one
    row per class, the rows of the classes that both classifiers have are copied. If `how` is "first-and-last", the
    first four convolutions and all fully connected layers are copied. If it is "fresh", nothing is copied.

    Raise a `UserError` before any change if `how` is not "fresh" and nothing can be copied.
    """
    ours, theirs = classifier.network.state_dict(), source.network.state_dict()
    match how:
        case "continue":
            names = list(theirs)
        case "fresh":
            names = []
        case "first-and-last":
            names = first_and_last_tensors(classifier, source)
    axes = class_axes(classifier.network, source.network)
    taken = [n for n in names if n in ours and n not in (*axes, *NORMALISATION) and ours[n].shape == theirs[n].shape]
    shared = shared_class_tensors(classifier.network, source.network)
    joined = [name for name in names if name in shared]
    pairs = class_pairs(classifier, source) if joined else {}
    if how != "fresh" and not pairs and not any(ours[name].dim() for name in taken):
        raise UserError(
            f"no tensor of {source.name} matches one of {classifier.name} in name and shape. Pass a model of "
            f"{classifier.name} to --init, or drop --init to start from random weights"
        )
    with torch.no_grad():
        for name in taken:
            ours[name].copy_(theirs[name])
        for name in joined:
            targets = torch.tensor(list(pairs), dtype=torch.long, device=ours[name].device)
            sources = torch.tensor(list(pairs.values()), dtype=torch.long, device=theirs[name].device)
            rows = theirs[name].index_select(axes[name], sources)
            ours[name].index_copy_(axes[name], targets, rows.to(ours[name]))
    complete = {*taken, *(joined if len(pairs) == len(classifier.classes) else ())}
    learned = [name for name in ours if name not in NORMALISATION]
    return Beginning(
        tuple(name for name in learned if name in complete),
        tuple(classifier.classes[i] for i in sorted(pairs)),
        tuple(name for name in learned if name not in complete),
        len(classifier.classes),
    )


def class_axes(ours: Network, theirs: Network) -> dict[str, int]:
    """Return the class axis of each tensor with one entry per class in either network, keyed by tensor name."""
    return {**theirs.class_tensors(), **ours.class_tensors()}


def shared_class_tensors(ours: Network, theirs: Network) -> list[str]:
    """Return the names of the tensors that have one entry per class in both networks.

    A layer is left out if one of its tensors differs between the networks in the length of any axis but the class axis.
    """
    mine, other = ours.state_dict(), theirs.state_dict()
    axes = {name: axis for name, axis in ours.class_tensors().items() if theirs.class_tensors().get(name) == axis}
    misfits = [name for name, axis in axes.items() if not has_same_shape_except(mine[name], other[name], axis)]
    layers = {name.rpartition(".")[0] for name in misfits}
    return [name for name in axes if name.rpartition(".")[0] not in layers]


def class_pairs(classifier: NetworkClassifier, source: NetworkClassifier) -> Mapping[int, int]:
    """Return, for each class that both classifiers have, its index in `source`, keyed by its index in `classifier`."""
    # Reversed, so that the first of several source classes with the same key is used.
    places = {class_key(name): i for i, name in reversed(list(enumerate(source.classes)))}
    names = map(class_key, classifier.classes)
    return {i: places[name] for i, name in enumerate(names) if name in places}


def has_same_shape_except(ours: Tensor | None, theirs: Tensor | None, axis: int) -> bool:
    """Return whether both tensors exist and have the same shape, except for the length of `axis`."""
    if ours is None or theirs is None or ours.dim() != theirs.dim():
        return False
    return all(a == b for i, (a, b) in enumerate(zip(ours.shape, theirs.shape, strict=True)) if i != axis)


def first_and_last_tensors(classifier: NetworkClassifier, source: NetworkClassifier) -> list[str]:
    """Return the names of the tensors in the first four convolutions and all fully connected layers of `source`.

    Simonyan and Zisserman (ICLR 2015, section 3.1) initialise deeper VGGs from configuration A in this way. Layers are
    matched by name, since A's conv1_1, conv2_1, conv3_1 and conv3_2 have the same names in every deeper configuration.
    Raise a `UserError` if a layer of `source` does not fit.
    """
    layers = [*layers_in(source.network, nn.Conv2d)[:4], *layers_in(source.network, nn.Linear)]
    ours, axes = classifier.network.state_dict(), class_axes(classifier.network, source.network)
    for name, layer in layers:
        for key, tensor in layer.state_dict(prefix=f"{name}.").items():
            if key in axes:
                fits = has_same_shape_except(ours.get(key), tensor, axes[key])
            else:
                fits = key in ours and ours[key].shape == tensor.shape
            if not fits:
                shape = " x ".join(map(str, layer.get_parameter("weight").shape))
                raise UserError(
                    f"layer {name!r} of {source.name} ({shape}) does not fit {classifier.name}. The mode "
                    "first-and-last needs two VGG networks with the same widths and image size"
                )
    return [key for name, layer in layers for key in layer.state_dict(prefix=f"{name}.")]


def layers_in(network: Network, kind: type[nn.Module]) -> list[tuple[str, nn.Module]]:
    """Return the name and module of each layer of type `kind`: first those in `features`, then those in `head`."""
    parts = {"features": network.features, "head": network.head}
    named = [(f"{part}.{name}", m) for part, layers in parts.items() for name, m in layers.named_modules()]
    return [(name, layer) for name, layer in named if isinstance(layer, kind)]
