"""Several scores of the same images as one, the weights of that mean, and ensembles in model files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.contracts import Classifier, Evaluation, TestProtocol
from imclass.core.ensemble import Ensemble, Member, join_members, mean_posterior
from imclass.core.errors import UserError
from imclass.core.model_file import MemberHeader, ModelHeader, read_model, save_model
from imclass.core.tables import Found
from imclass.evaluate.metrics import ROWS, posteriors
from imclass.evaluate.run import measured, protocols
from imclass.models.classifier import NetworkClassifier, model_file, restored

ENSEMBLE = "ensemble"  # the network that an ensemble's header names
ROUNDS = 10_000  # of `fit_weights`, at most
Loaded: TypeAlias = NetworkClassifier | Ensemble


def fuse(evaluations: Sequence[Evaluation], weights: Sequence[float], temperature: float = 1.0) -> Evaluation:
    """What an `Ensemble` of the members would have scored, from their own scores; nothing is computed twice.

    The evaluations are of the same images; where they are not, or name other classes, it is a `UserError`.
    """
    first, orders = evaluations[0], check_alike(evaluations)
    scores = np.empty_like(first.scores)
    for start in range(0, len(scores), ROWS):
        rows = slice(start, start + ROWS)
        some = [torch.from_numpy(e.scores[rows])[:, order] for e, order in zip(evaluations, orders, strict=True)]
        scores[rows] = mean_posterior(some, weights, temperature).numpy()
    return measured(first.classes, first.labels, scores, first.ids, first.total, first.refused)


def check_alike(evaluations: Sequence[Evaluation]) -> list[Int64[Tensor, "K"]]:
    """A `UserError` unless all are of the same images with the same labels; where each has the first one's classes."""
    first = evaluations[0]
    orders = join_members([evaluation.classes for evaluation in evaluations])
    for i, (other, order) in enumerate(zip(evaluations, orders, strict=True), 1):
        if not np.array_equal(first.ids, other.ids):
            raise UserError(
                f"scores 1 and {i} are of different images ({len(first.ids):,} and {len(other.ids):,}, "
                f"{len(np.intersect1d(first.ids, other.ids)):,} in both); evaluate both on the same --data and --split"
            )
        if not np.array_equal(order.numpy()[first.labels], other.labels):
            raise UserError(f"scores 1 and {i} do not give the same images the same classes; evaluate both again")
    return orders


def fit_weights(evaluations: Sequence[Evaluation]) -> tuple[float, ...]:
    """The weights, at least 0 and 1 in sum, whose mean posterior has the least negative log likelihood of the labels.

    It is convex in the weights. Each round of expectation-maximisation gives a member the mean share that it has in
    the posterior of the right class (Dempster, Laird and Rubin, J. Roy. Stat. Soc. B 39, 1977, section 4.3).
    """
    check_alike(evaluations)
    own = np.stack([own_posterior(evaluation) for evaluation in evaluations], axis=1)
    weights = np.full(len(evaluations), 1 / len(evaluations))
    for _ in range(ROUNDS):
        shares = own * weights
        last, weights = weights, (shares / shares.sum(1, keepdims=True)).mean(0)
        if np.abs(weights - last).max() < 1e-9:
            break
    return tuple(weights.tolist())


def own_posterior(evaluation: Evaluation) -> Float64[np.ndarray, "N"]:
    """The posterior of each image's own class, at least 1e-30."""
    labels = evaluation.labels[:, None]
    own = [np.take_along_axis(chances, labels[part], axis=1) for part, chances in posteriors(evaluation.scores)]
    return np.concatenate(own)[:, 0].clip(1e-30)


def save(path: Path, ensemble: Ensemble, plugins: Sequence[Path] = (), **facts: Any) -> None:
    """Write the ensemble as one model file; `facts` fill the other fields of its header (data, metrics ...)."""
    tensors, header = packed(ensemble, protocols(plugins))
    own = {name: tensor.clone() for name, tensor in tensors.items()}  # a network may be two members, each by its way
    save_model(path, own, replace(header, **facts))


def packed(classifier: Classifier, found: Found) -> tuple[dict[str, Tensor], ModelHeader]:
    """The tensors and the header of a classifier, as they stand in a model file."""
    if isinstance(classifier, NetworkClassifier):
        own = classifier.header or ModelHeader("", {}, classifier.classes, classifier.preprocess)
        header = replace(
            own,
            network=classifier.name,
            row=classifier.row,
            classes=classifier.classes,
            preprocess=classifier.preprocess,
        )
        return dict(classifier.network.state_dict()), header
    if not isinstance(classifier, Ensemble):
        raise UserError(f"a {type(classifier).__name__} cannot be saved in an ensemble; networks and ensembles can")
    parts = [packed(member.classifier, found) for member in classifier.members]
    members = tuple(
        MemberHeader(header, *named(member.protocol, found), member.weight)
        for member, (_, header) in zip(classifier.members, parts, strict=True)
    )
    tensors = {f"{i}.{name}": t for i, (own, _) in enumerate(parts) for name, t in own.items()}
    preprocess = members[0].header.preprocess  # a header has one; an ensemble's members each go by their own
    header = ModelHeader(
        ENSEMBLE, {}, classifier.classes, preprocess, members=members, temperature=classifier.temperature
    )
    return tensors, header


def named(protocol: TestProtocol | None, found: Found) -> tuple[str, dict[str, Any]]:
    """A protocol as its name in the table and its fields; one that is in no table is a `UserError`."""
    if protocol is None:
        return "", {}
    alike = [name for name, entry in found.entries.items() if type(entry) is type(protocol)]
    if not alike:
        raise UserError(f"{type(protocol).__name__} is in no table of protocols, so a file cannot name it")
    exact = [name for name in alike if found.entries[name] == protocol]
    return (exact or alike)[0], to_json(protocol)


def load(path: str | Path, plugins: Sequence[Path] = ()) -> Loaded:
    """The network or the ensemble in a model file or a run directory; anything amiss is a `UserError` naming it."""
    path = model_file(path)
    return unpacked(*read_model(path), path, protocols(plugins), plugins)


def unpacked(
    tensors: Mapping[str, Tensor], header: ModelHeader, path: Path, found: Found, plugins: Sequence[Path]
) -> Loaded:
    """The inverse of `packed`; `path` is where both were read from."""
    if header.network != ENSEMBLE:
        return restored(tensors, header, path, plugins)
    members = []
    for i, member in enumerate(header.members):
        own = {name.removeprefix(f"{i}."): t for name, t in tensors.items() if name.startswith(f"{i}.")}
        where = Path(f"{path}, member {i + 1}")
        classifier = unpacked(own, member.header, where, found, plugins)
        members.append(Member(classifier, protocol_of(member, found, where), member.weight))
    return Ensemble(tuple(members), header.temperature, header)


def protocol_of(member: MemberHeader, found: Found, path: Path) -> TestProtocol | None:
    """The protocol that a member's header names, with its fields."""
    if not member.protocol:
        return None
    try:
        protocol: TestProtocol = from_json(type(found[member.protocol]), member.fields, f"protocol {member.protocol}")
        return protocol
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def networks_of(classifier: Classifier) -> list[NetworkClassifier]:
    """The networks that a classifier consists of."""
    if isinstance(classifier, Ensemble):
        return [network for member in classifier.members for network in networks_of(member.classifier)]
    return [classifier] if isinstance(classifier, NetworkClassifier) else []
