"""What `evaluate` scores: a row a model and protocol, from one pass over the images; rows of their fusions."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.arguments import Evaluate
from imclass.app.checks import mapping_in
from imclass.app.progress import counting
from imclass.app.split import Chosen
from imclass.core.codec import from_json
from imclass.core.contracts import Classifier, Evaluation, TestProtocol
from imclass.core.errors import UserError
from imclass.core.runtime import Processes
from imclass.core.text import listed
from imclass.evaluation.ensemble import Ensemble, Member, check_alike, fit_weights, fuse
from imclass.evaluation.measures.calibration import fit_temperature
from imclass.evaluation.measures.single_label import ranks
from imclass.evaluation.papers.render import net_of
from imclass.evaluation.papers.table import Net, Tested
from imclass.evaluation.results import names_of, read_scores
from imclass.evaluation.score import evaluate_each, protocols
from imclass.models.classifier import NetworkClassifier
from imclass.models.views.scales import with_scales

AS_TRAINED = "as trained"  # where no protocol is named


@dataclass(frozen=True)
class Facts:
    """What scores are of, as it is kept beside them."""

    models: tuple[str, ...]
    tested: Tested  # in the terms of the papers' tables
    said: str  # which images, and why these
    data: str  # name or folder
    split: str
    weights: tuple[float, ...] = (1.0,)
    temperature: float = 1.0


@dataclass(frozen=True)
class Row:
    """Scores, the names of the images, and what they are of."""

    name: str
    evaluation: Evaluation
    images: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True)
class Way:
    """A model under a protocol, "" where it is looked at as in training: what a row is made of."""

    model: str
    protocol: str
    member: Member

    @property
    def tested(self) -> Tested:
        """What a paper's table would call it."""
        return Tested(tuple(nets_of(self.member)), self.protocol, self.model)


def nets_of(member: Member) -> list[Net]:
    """The networks of a member, each with its S and Q."""
    if isinstance(member.classifier, Ensemble):
        return [net for inner in member.classifier.members for net in nets_of(inner)]
    network = member.classifier
    return [net_of(network, member.protocol)] if isinstance(network, NetworkClassifier) else []


def looks(own: Evaluate) -> dict[str, TestProtocol | None]:
    """The protocols asked for, by name, at the scales asked for; an unknown one is a `UserError`."""
    if own.protocol is None:
        if own.scales is not None:
            raise UserError("--scales needs a --protocol that takes scales, such as dense or vgg-multicrop")
        return {"": None}
    found, names = protocols(own.common.plugins), own.protocol.split(",")
    if len(set(names)) < len(names):
        raise UserError(f"--protocol {own.protocol} names one twice; name each once")
    chosen: dict[str, TestProtocol | None] = {name: found[name] for name in names}
    if own.scales is not None:
        scales = sides(own.scales)
        chosen = {name: with_scales(found[name], scales) for name in names}
    return chosen


def sides(scales: str) -> tuple[int, ...]:
    """The numbers in "256,384,512"; anything else is a `UserError`."""
    words = scales.split(",")
    if not all(word.isdecimal() for word in words):
        raise UserError(f"--scales is {scales!r}; it must be whole numbers of pixels with commas between: 256,384,512")
    return tuple(int(word) for word in words)


def ways_of(models: Mapping[str, Classifier], own: Evaluate) -> list[Way]:
    """Each model under each protocol: all models under the first, then all under the next."""
    return [
        Way(model, name, member_of(model, classifier, protocol))
        for name, protocol in looks(own).items()
        for model, classifier in models.items()
    ]


def member_of(name: str, classifier: Classifier, protocol: TestProtocol | None) -> Member:
    """A model under a protocol; one that is shown no views is a `UserError` that names it."""
    try:
        return Member(classifier, protocol)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def scored(ways: Sequence[Way], chosen: Chosen, own: Evaluate, everyone: Processes) -> list[Row]:
    """A row for each way, in one pass over the images; in processes other than the first, none."""
    dataset = chosen.dataset
    with counting(dataset.split) as report:
        members = [way.member for way in ways]
        shown = report if everyone.rank == 0 else None
        mapping = mapping_in(own.classes)
        found = evaluate_each(members, dataset, own.batch, own.workers, shown, mapping, own.strict, everyone)
    several = len({way.protocol for way in ways}) > 1
    images = names_of(dataset, found[0]) if found else ()
    rows = []
    for way, evaluation in zip(ways, found, strict=False):  # nothing is found in other processes
        name = f"{way.model}, {way.protocol}" if several else way.model
        facts = Facts((way.model,), way.tested, chosen.said, chosen.data, dataset.split)
        rows.append(Row(name, evaluation, images, facts))
    return rows


def saved_row(path: Path) -> Row:
    """The row that `--save-scores` wrote into a file; one that does not say what it is of is a `UserError`."""
    saved = read_scores(path)
    known = {field.name for field in dataclasses.fields(Facts)}
    try:
        facts = from_json(Facts, {key: value for key, value in saved.record.items() if key in known})
    except UserError as error:
        raise UserError(f"{path} does not say what its scores are of ({error}); write it again") from None
    return Row(str(path), saved.evaluation, saved.names, facts)


@dataclass(frozen=True)
class Blend:
    """Which rows are fused, with which weights and temperature; `name` is of the row that comes of it."""

    name: str
    places: tuple[int, ...]
    weights: tuple[float, ...]
    temperature: float = 1.0

    def of(self, rows: Sequence[Row]) -> Row:
        """The fused row."""
        chosen = [rows[i] for i in self.places]
        check_images(chosen)
        evaluation = fuse([row.evaluation for row in chosen], self.weights, self.temperature)
        facts = [row.facts for row in chosen]
        protocols = {f.tested.protocol for f in facts}
        fused = replace(
            facts[0],
            models=tuple(name for f in facts for name in f.models),
            tested=Tested(
                tuple(net for f in facts for net in f.tested.nets),
                protocols.pop() if len(protocols) == 1 else "",
                self.name,
            ),
            weights=self.weights,
            temperature=self.temperature,
        )
        return Row(self.name, evaluation, chosen[0].images, fused)

    def ensemble(self, ways: Sequence[Way]) -> Ensemble:
        """The classifier that would have given these scores."""
        members = zip((ways[i].member for i in self.places), self.weights, strict=True)
        return Ensemble(tuple(Member(m.classifier, m.protocol, weight) for m, weight in members), self.temperature)


def blends(rows: Sequence[Row], trials: Sequence[Row], own: Evaluate) -> list[Blend]:
    """What is fused: the rows of each protocol that was asked for, or all; last, where it is wanted, the calibrated."""
    several = len(looks(own)) > 1
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.facts.tested.protocol if several else "", []).append(i)
    found = []
    for protocol, places in groups.items():
        if len(places) > 1 and own.weights != "none":
            weights = weights_of([trials[i] for i in places] if own.weights == "fit" else [], len(places))
            shares = f" ({', '.join(f'{w:.3g}' for w in weights)})" if own.weights == "fit" else ""
            found.append(Blend(f"fused{shares}, {protocol}" if several else f"fused{shares}", tuple(places), weights))
    if own.temperature:
        found.append(calibrated(found[-1] if found else Blend(rows[-1].name, (len(rows) - 1,), (1.0,)), trials))
    return found


def weights_of(trials: Sequence[Row], n: int) -> tuple[float, ...]:
    """Weights fitted on the rows of the validation split, or the same for each."""
    return fit_weights([row.evaluation for row in trials]) if trials else (1 / n,) * n


def calibrated(blend: Blend, trials: Sequence[Row]) -> Blend:
    """The same with the temperature that is best on the validation split."""
    trial = blend.of(trials).evaluation
    temperature = fit_temperature(trial.scores, trial.labels)
    return Blend(f"{blend.name}, temperature {temperature:.4g}", blend.places, blend.weights, temperature)


def check_images(rows: Sequence[Row]) -> None:
    """A `UserError` unless rows are of the same images by name, as far as both have them."""
    first = rows[0]
    for row in rows[1:]:
        if len(row.images) == len(first.images) and row.images != first.images:
            other = [a for a, b in zip(row.images, first.images, strict=True) if a != b]
            raise UserError(
                f"{first.name} and {row.name} are scores of different images (only the second has {listed(other, 3)}); "
                "evaluate both on the same --data"
            )


def changed(first: Row, last: Row, most: int) -> list[dict[str, Any]]:
    """At most so many images whose own class ranks differently: name, rank in the first and in the last row."""
    check_alike([first.evaluation, last.evaluation])
    before, after = (ranks(row.evaluation.scores, row.evaluation.labels) for row in (first, last))
    order = np.argsort(-np.abs(after - before), kind="stable")[:most]
    return [
        {"image": last.images[i], "before": int(before[i]), "after": int(after[i])}
        for i in order.tolist()
        if before[i] != after[i]
    ]
