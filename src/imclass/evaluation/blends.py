"""Blends: plans for the weighted fusion of result rows. A blend can also build the equivalent ensemble."""
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
    """The model and protocol that produce one result row.

    If the protocol is "", the model's `preprocess` prepares the images.
    """

    model: str
    protocol: str
    member: EnsembleMember

    @property
    def tested(self) -> RowSubject:
        """Return the tested networks and the protocol, described as in the papers' tables."""
        return RowSubject(tuple(member_nets(self.member)), self.protocol, self.model)


def member_nets(member: EnsembleMember) -> list[Net]:
    """Return the member's networks, each with its training scale S and its test scales Q."""
    protocols = member.protocols()
    return [net_of(network, protocols.get(name)) for name, network in member.networks().items()]


@dataclass(frozen=True)
class Blend:
    """A plan for the fusion of result rows: which rows to fuse, their weights, and a temperature."""

    name: str  # of the fused row
    places: tuple[int, ...]  # positions of the rows to fuse
    weights: tuple[float, ...]
    temperature: float = 1.0

    def fuse_rows(self, rows: Sequence[ResultRow]) -> ResultRow:
        """Fuse the rows at `places` into one."""
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

    def ensemble(self, sources: Sequence[RowSource]) -> Ensemble:
        """Return the ensemble that gives the fused row's scores.

        `sources` has an entry for every row, not only for those at `places`.
        """
        members = zip((sources[i].member for i in self.places), self.weights, strict=True)
        return Ensemble(
            tuple(EnsembleMember(m.classifier, m.protocol, weight) for m, weight in members), self.temperature
        )


def blend_weights(trials: Sequence[ResultRow], n: int) -> tuple[float, ...]:
    """Return weights for `n` rows, fitted to `trials` if there are any. Otherwise all weights are equal.

    `trials` are the same rows, scored on the validation split.
    """
    return fit_weights([row.evaluation for row in trials]) if trials else (1 / n,) * n


def calibrate(blend: Blend, trials: Sequence[ResultRow]) -> Blend:
    """Return the blend with a fitted temperature. `trials` are all rows, scored on the validation split."""
    trial = blend.fuse_rows(trials).evaluation
    temperature = fit_temperature(trial.scores, labels_of(trial.targets, "--temperature"))
    return Blend(f"{blend.name}, temperature {temperature:.4g}", blend.places, blend.weights, temperature)
