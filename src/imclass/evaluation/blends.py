"""Blends of rows: which are fused, with which weights and temperature, and the classifier that gives the result."""
# Tested in tests/app/verbs/test_evaluate.py

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imclass.core.targets import labels_of
from imclass.evaluation.ensemble import Ensemble, Member
from imclass.evaluation.fusion import fit_weights, fuse
from imclass.evaluation.measures.calibration import fit_temperature
from imclass.evaluation.papers.render import net_of
from imclass.evaluation.papers.table import Net, Tested
from imclass.evaluation.results import Row, check_images


@dataclass(frozen=True)
class Way:
    """A model under a protocol, "" where images are shown as in training: what a row is made of."""

    model: str
    protocol: str
    member: Member

    @property
    def tested(self) -> Tested:
        """Return what a paper's table would call it."""
        return Tested(tuple(nets_of(self.member)), self.protocol, self.model)


def nets_of(member: Member) -> list[Net]:
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

    def of(self, rows: Sequence[Row]) -> Row:
        """Return the fused row."""
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
        """Return the classifier that would have given these scores."""
        members = zip((ways[i].member for i in self.places), self.weights, strict=True)
        return Ensemble(tuple(Member(m.classifier, m.protocol, weight) for m, weight in members), self.temperature)


def weights_of(trials: Sequence[Row], n: int) -> tuple[float, ...]:
    """Return weights fitted on the rows of the validation split, or without rows the same for each."""
    return fit_weights([row.evaluation for row in trials]) if trials else (1 / n,) * n


def calibrate(blend: Blend, trials: Sequence[Row]) -> Blend:
    """Return the blend with the temperature that is best on the validation split."""
    trial = blend.of(trials).evaluation
    temperature = fit_temperature(trial.scores, labels_of(trial.targets, "--temperature"))
    return Blend(f"{blend.name}, temperature {temperature:.4g}", blend.places, blend.weights, temperature)
