"""The standings of a benchmark: the result of each entry, most accurate first, compared with the best."""
# Tested in tests/app/verbs/test_benchmark.py

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imclass.app.benchmark.entries import Entry, scores_row
from imclass.app.benchmark.times import EntryTime, Ledger
from imclass.app.draw.benchmark import Place, benchmark_png
from imclass.app.load import count_parameters, load_classifier
from imclass.app.overview.summary import training_seconds
from imclass.app.settings.record import read_run_record
from imclass.app.text.labels import finite_or_none
from imclass.core.codec import to_json
from imclass.core.config import Fitting, RunConfig, Stage
from imclass.core.contracts import Evaluation
from imclass.core.targets import OneOf
from imclass.core.text import main_measure, measure_title
from imclass.evaluation.measures.comparison import Comparison, NamedScores, compare_pairs, pair_images
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.results import ResultRow
from imclass.models.classifier import networks
from imclass.store.context import Context
from imclass.training.kinds import kind_tables


@dataclass(frozen=True)
class Standing:
    """The result of an entry."""

    name: str
    kind: str  # "network" or "pipeline"
    what: str  # a short description of the model
    folder: Path
    parameters: int
    model_bytes: int
    measure: str
    value: float
    interval: tuple[float, float] | None  # Wilson's; a mean average precision has none
    images: int
    training: float  # seconds
    evaluation: float | None  # seconds; None if they were not measured
    sessions: int  # 0 if the time comes from the log of a run that the benchmark did not train
    machines: tuple[str, ...]
    row: ResultRow = field(repr=False)
    best: Comparison | None = None  # this entry (B) against the best (A); None for the best, and for several labels

    @property
    def is_timed(self) -> bool:
        """Return whether the benchmark measured the time itself."""
        return self.sessions > 0

    @property
    def place(self) -> Place:
        """Return the entry's place in the picture."""
        return Place(self.name, self.value, self.interval, self.training, self.kind)

    def record(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "what": self.what,
            "run": str(self.folder),
            "parameters": self.parameters,
            "model_bytes": self.model_bytes,
            self.measure: finite_or_none(self.value),
            f"{self.measure}_interval": None if self.interval is None else list(self.interval),
            "images": self.images,
            "training_seconds": self.training,
            "evaluation_seconds": self.evaluation,
            "sessions": self.sessions,
            "machines": list(self.machines),
            "against_best": to_json(self.best),
        }


def make_standings(entries: Sequence[Entry], ledger: Ledger, context: Context) -> tuple[Standing, ...]:
    """Return the results of finished entries, most accurate first. Between equals, the faster comes first."""
    found = sorted((standing_of(entry, ledger, context) for entry in entries), key=rank_of)
    return tuple(against_best(one, found[0]) for one in found)


def rank_of(one: Standing) -> tuple[float, float]:
    """Return a key that sorts the most accurate first. A value that is not a number comes last."""
    return (-one.value if math.isfinite(one.value) else math.inf, one.training)


def standing_of(entry: Entry, ledger: Ledger, context: Context) -> Standing:
    """Return the result of a finished entry, without the comparison."""
    run, row = entry.run, scores_row(entry.run, entry.name)
    begun = read_run_record(run.config, kind_tables(context))
    config = begun.config
    measure = main_measure(row.evaluation.measures)
    known = ledger.times.get(entry.name) if entry.settings else None
    if known is None:
        log = [record for record in run.events() if "event" in record]
        known = EntryTime("", training_seconds(log))
    return Standing(
        name=entry.name,
        kind="pipeline" if isinstance(config, Fitting) else "network",
        what=describe_config(config, context, begun.resolved),
        folder=run.folder,
        parameters=count_parameters(load_classifier(run.model, context)),
        model_bytes=run.model.stat().st_size,
        measure=measure,
        value=row.evaluation.measures[measure],
        interval=accuracy_interval(row.evaluation) if measure == "top1" else None,
        images=len(row.evaluation.targets),
        training=known.training,
        evaluation=known.evaluation if known.sessions else None,
        sessions=known.sessions,
        machines=known.machines,
        row=row,
    )


def accuracy_interval(evaluation: Evaluation) -> tuple[float, float]:
    """Return Wilson's 95% interval of the accuracy."""
    n = len(evaluation.targets)
    return wilson_interval(round(evaluation.measures["top1"] * n), n)


def describe_config(config: RunConfig, context: Context, resolved: Mapping[str, int]) -> str:
    """Return a short description of a model: its network and epochs, or the chain of its parts.

    `resolved` has the numbers of epochs of stages with `minutes`, by config key.
    """
    begin = f"{config.init}, " if config.init else ""
    if isinstance(config, Fitting):
        return begin + " + ".join(part.kind for part in config.parts)
    stages = [stage_text(s, resolved.get(f"stages.{i}.epochs", s.epochs)) for i, s in enumerate(config.stages)]
    if config.init:
        return begin + ", ".join(stages)
    default: Any = to_json(networks(context)[config.model.network].row)
    changed = {name: value for name, value in to_json(config.model.row).items() if value != default[name]}
    row = "".join(f", {name} {value_text(value)}" for name, value in changed.items() if name != "size")
    return f"{config.model.network}{row}, {config.preprocess.size} pixels, {', '.join(stages)}"


def stage_text(stage: Stage, epochs: int) -> str:
    """Return how a stage trains, in a few words."""
    if stage.kind == "solve":
        return f"last layer by {stage.solver.kind}" if stage.solver else "last layer"
    return f"{epochs} {'epoch' if epochs == 1 else 'epochs'}"


def value_text(value: Any) -> str:
    """Return the value of a field of a network's row."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def against_best(one: Standing, best: Standing) -> Standing:
    """Return a result with its comparison with the best, if the images have one label each and different names."""
    rows = (best.row, one.row)
    single = all(isinstance(row.evaluation.targets, OneOf) for row in rows)
    unique = all(len(set(row.images)) == len(row.images) for row in rows)
    if one is best or not single or not unique:
        return one
    pairs = pair_images(*(NamedScores(row.name, row.evaluation, row.images) for row in rows))
    return replace(one, best=compare_pairs(pairs))


def draw_standings(standings: Sequence[Standing], path: Path) -> None:
    """Draw the results over the training times. Entries without a time are left out."""
    places = [one.place for one in standings if one.training > 0 and math.isfinite(one.value)]
    if places:
        benchmark_png(places, measure_title(standings[0].measure), path)
