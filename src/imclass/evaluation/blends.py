"""Blends of rows: which are fused, with which weights and temperature, and the classifier that gives the result."""
# Tested in tests/app/verbs/test_evaluate.py

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imclass.core.targets import labels_of
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.fusion import fit_weights, fuse
from imclass.evaluation.measures.calibration import fit_temperature
from imclass.evaluation.papers.render import net_of
from imclass.evaluation.papers.table import Net, RowSubject
from imclass.evaluation.results import ResultRow, check_images


@dataclass(frozen=True)
class RowSource:
    """A model under a protocol, "" where images are shown as in training: what a row is made of."""

    model: str
    protocol: str
    member: EnsembleMember

    @property
    def tested(self) -> RowSubject:
        """Return what a paper's table would call it."""
        return RowSubject(tuple(member_nets(self.member)), self.protocol, self.model)


def member_nets(member: EnsembleMember) -> list[Net]:
    """Return the networks of a member, each with its S and Q."""
    shown = member.protocols()
    return [net_of(network, shown.get(name)) for name, network in member.networks().items()]


@dataclass(frozen=True)
class Blend:
    """Which rows are fused, with which weights and temperature; `name` is of the row that comes of it."""

    name: str
    places: tuple[int, ...]
    weights: tuple[float, ...]
    temperature: float = 1.0

    def of(self, rows: Sequence[ResultRow]) -> ResultRow:
        """Return the fused row."""
        chosen = [rows[i] for i in self.places]
        check_images(chosen)
        evaluation = fuse([row.evaluation for row in chosen], self.weights, self.temperature)
        facts = [row.facts for row in chosen]
        protocols = {f.tested.protocol for f in facts}
        fused = replace(
            facts[0],
            models=tuple(name for f in facts for name in f.models),
            tested=RowSubject(
                tuple(net for f in facts for net in f.tested.nets),
                protocols.pop() if len(protocols) == 1 else "",
                self.name,
            ),
            weights=self.weights,
            temperature=self.temperature,
        )
        return ResultRow(self.name, evaluation, chosen[0].images, fused)

    def ensemble(self, ways: Sequence[RowSource]) -> Ensemble:
        """Return the classifier that would have given these scores."""
        members = zip((ways[i].member for i in self.places), self.weights, strict=True)
        return Ensemble(
            tuple(EnsembleMember(m.classifier, m.protocol, weight) for m, weight in members), self.temperature
        )


def blend_weights(trials: Sequence[ResultRow], n: int) -> tuple[float, ...]:
    """Return weights fitted on the rows of the validation split, or without rows the same for each."""
    return fit_weights([row.evaluation for row in trials]) if trials else (1 / n,) * n


def calibrate(blend: Blend, trials: Sequence[ResultRow]) -> Blend:
    """Return the blend with the temperature that is best on the validation split."""
    trial = blend.of(trials).evaluation
    temperature = fit_temperature(trial.scores, labels_of(trial.targets, "--temperature"))
    return Blend(f"{blend.name}, temperature {temperature:.4g}", blend.places, blend.weights, temperature)
