"""The contents of a report, gathered from a run's folder, or from a model and its saved evaluation."""
# Tested in tests/app/report/test_page.py

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from imclass.app.draw.grid import map_grid
from imclass.app.load import count_parameters, load_classifier
from imclass.app.report.costs import EpochCost, TaskCost, epoch_costs, task_costs
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.curves import epoch_rows, step_rows
from imclass.app.runs.watchers.pictures import REPORT_SPLITS, read_pictures, worst_mistakes
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.settings.configure import recipes
from imclass.app.settings.record import read_run_record
from imclass.app.settings.series import Series
from imclass.core.codec import flatten, from_json, to_json
from imclass.core.config import RunConfig, Training
from imclass.core.contracts import Classifier, Evaluation, Refused
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.core.model_file import DataFacts, Provenance
from imclass.core.runtime import Runtime
from imclass.core.text import suggestion
from imclass.evaluation.division_scores import DivisionScores
from imclass.evaluation.measures.mistakes import WrongImage
from imclass.evaluation.request import AS_TRAINED
from imclass.evaluation.results import ResultRow, SavedScores, read_scores
from imclass.evaluation.unpack import sole_network
from imclass.models.analysis.activations import find_layer, output_of
from imclass.models.classifier import NetworkClassifier
from imclass.models.views.batches import to_batch
from imclass.store.context import Context
from imclass.training.kinds import kind_tables
from imclass.training.plan import resolve_models


@dataclass(frozen=True)
class HeadlineScore:
    """The numbers in a report's headline."""

    split: str
    measure: str  # the main measure: top1, or map for multi-label data
    main: float
    top5: float
    loss: float
    evaluated: int
    total: int


@dataclass(frozen=True)
class FirstLayer:
    """The first convolution: its filters, and its feature maps for one image. A part that cannot be drawn is None."""

    layer: str
    filters: UInt8[np.ndarray, "..."] | None
    name: str = ""  # of the image
    image: UInt8[np.ndarray, "_ _ _"] | None = None  # H W C
    maps: UInt8[np.ndarray, "_ _"] | None = None


@dataclass(frozen=True)
class RunFacts:
    """Facts that only a run has: its configuration, log and device."""

    config: RunConfig
    defaults: Mapping[str, Any] | None  # the recipe's values by dotted key; None if the recipe is not installed
    runtime: Runtime
    history: Sequence[Mapping[str, int | float]] = ()  # one row per epoch
    within_epochs: Sequence[Mapping[str, int | float]] = ()  # rows with training measures, at fractions of epochs
    epochs: Sequence[EpochCost] = ()
    tasks: Sequence[TaskCost] = ()  # of the fit of a pipeline

    @property
    def stages(self) -> int:
        """Return the number of stages of training, or 0 for the fit of a pipeline."""
        return len(self.config.stages) if isinstance(self.config, Training) else 0


@dataclass(frozen=True)
class SeriesFacts:
    """Facts that only a series of runs has: the scores on each division of the data, and lines of text about them."""

    series: Series
    scores: DivisionScores
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ReportData:
    """The contents of a report on a run or on an evaluated model. For a model, `run` is None."""

    name: str  # the run's name, or the model argument
    network: str
    data: str  # name of the data set, or of the folder without its parents
    classes: tuple[str, ...]
    trained: Provenance
    versions: Mapping[str, str]  # of the libraries with which the model was made
    digest: str  # SHA-256 of the model file
    parameters: int
    size: int  # side of the network's input in pixels; 0 unless the model is a single network
    refused: Sequence[Refused]  # of all splits
    counts: Mapping[str, Int64[np.ndarray, "K"]]  # number of images in each class, keyed by split
    images: Mapping[str, int]  # number of images, keyed by split
    score: HeadlineScore | None
    scored: str  # which images were scored, and with which protocol
    result: Evaluation | None
    mistakes: Sequence[WrongImage]
    pictures: Mapping[str, UInt8[np.ndarray, "_ _ _"]]  # H W C, keyed by image name
    inside: FirstLayer | None
    problem: str  # why scores are missing; "" if they are available
    run: RunFacts | None = None
    folder: Path | None = None  # of the run
    series: SeriesFacts | None = None  # of a series of runs

    @property
    def known(self) -> DataFacts:
        """Return the facts about the training data that are stored in the model file."""
        return self.trained.data or DataFacts()


def gather_run(run: Run, context: Context) -> ReportData:
    """Gather the contents of a report from a finished run's folder, without opening the data.

    Raise a `UserError` if the folder does not contain a finished run.
    """
    check_finished(run)
    begun, classifier = read_run_record(run.config, kind_tables(context)), load_classifier(run.model, context)
    trained, log, config = classifier.trained or Provenance(), run.events(), begun.config
    split = next((s for s in REPORT_SPLITS if s in trained.metrics), "")
    saved, problem = try_read_scores(last_leg_folder(run) / SCORES / f"{split}.npz") if split else (None, "")
    result, sole = saved.evaluation if saved else None, sole_network(classifier)
    return ReportData(
        name=run.folder.name or "run",
        network=pipeline_or_network(config),
        data=(trained.data and trained.data.name) or config.data,
        classes=classifier.classes,
        trained=trained,
        versions=classifier.pack()[1].versions,
        digest=file_digest(run.model),
        parameters=count_parameters(classifier),
        size=sole.preprocess.size if sole else 0,
        refused=collect_refusals(log, result, config.data),
        counts={name: np.array(counts, np.int64) for name, counts in begun.counts.items()},
        images=begun.images,
        score=score_of(split, result) if result else recorded_score(trained, split),
        scored="",
        result=result,
        problem=problem,
        **image_fields(classifier, run.folder, result, saved.names if saved else ()),
        run=run_facts(config, begun.runtime, log, context),
        folder=run.folder,
    )


def pipeline_or_network(config: RunConfig) -> str:
    """Return the name of the network that a config trains, or the kinds of the parts of the pipeline that it fits."""
    return config.model.network if isinstance(config, Training) else " + ".join(part.kind for part in config.parts)


def run_facts(config: RunConfig, used: Runtime, log: Sequence[Mapping[str, Any]], context: Context) -> RunFacts:
    """Return the facts that only a run has."""
    defaults = recipe_values(config.recipe, context)
    if not isinstance(config, Training):
        return RunFacts(config, defaults, used, tasks=task_costs(log))
    return RunFacts(config, defaults, used, epoch_rows(log), step_rows(log), epoch_costs(log))


def gather_model(
    name: str, classifier: Classifier, file: Path, folder: Path, row: ResultRow, counts: Int64[np.ndarray, "K"]
) -> ReportData:
    """Gather the contents of a report on a model whose evaluation is saved in `folder`. `file` contains the weights."""
    result, facts, header = row.evaluation, row.facts, classifier.pack()[1]
    networks, sole = list(classifier.networks().values()), sole_network(classifier)
    return ReportData(
        name=name,
        network=" + ".join(network.name for network in networks) or header.kind,
        data=Path(facts.data).name,
        classes=classifier.classes,
        trained=classifier.trained or Provenance(),
        versions=header.versions,
        digest=file_digest(file),
        parameters=count_parameters(classifier),
        size=sole.preprocess.size if sole else 0,
        refused=collect_refusals((), result, facts.data),
        counts={facts.split: counts},
        images={facts.split: result.total},
        score=score_of(facts.split, result),
        scored=f"{facts.scope}, protocol {facts.tested.protocol or AS_TRAINED}",
        result=result,
        problem="",
        **image_fields(classifier, folder, result, row.images),
    )


def image_fields(
    classifier: Classifier, folder: Path, result: Evaluation | None, names: Sequence[str]
) -> dict[str, Any]:
    """Return the fields of `ReportData` for the mistakes, the pictures and the first layer."""
    pictures = read_pictures(folder)
    mistakes = worst_mistakes(result, names) if result else []
    first = names[0] if names and names[0] in pictures else ""
    network = sole_network(classifier)
    inside = view_first_layer(network, first, pictures.get(first)) if network else None
    return {"mistakes": mistakes, "pictures": pictures, "inside": inside}


def last_leg_folder(run: Run) -> Path:
    """Return the folder of a run's last leg. If the run has only one leg, this is the run's own folder."""
    return max((run.folder / "legs").glob("*/"), default=run.folder)


def try_read_scores(path: Path) -> tuple[SavedScores | None, str]:
    """Return a file's scores and "", or None and the reason why the scores cannot be read."""
    try:
        return read_scores(path), ""
    except UserError:
        return None, f"{path.parent.name}/{path.name} is missing or damaged"


def check_finished(run: Run) -> None:
    """Raise a `UserError` if the folder does not contain a finished run. The message says what to do."""
    if not run.config.is_file():
        parent = run.folder.parent
        runs = [p.parent.name for p in parent.glob("*/config.json")] if parent.is_dir() else []
        fix = suggestion(run.folder.name, runs) or "; choose the folder of a finished run"
        raise UserError(f"{run.folder} does not contain a run{fix}")
    if not run.is_finished:
        raise UserError(
            f"the run in {run.folder} is not finished: it has no {run.model.name} yet. "
            "Run its `imclass train` command again to finish the run, then repeat this command"
        )


def recipe_values(recipe: str, context: Context) -> dict[str, Any] | None:
    """Return the values of a recipe by dotted key, including all fields of the networks' rows.

    Return None if the recipe is unknown.
    """
    found = recipes(context).entries
    if recipe not in found:
        return None
    config = found[recipe]()
    return flatten(to_json(resolve_models(config, context) if isinstance(config, Training) else config))


def recorded_score(trained: Provenance, split: str) -> HeadlineScore | None:
    """Return the headline numbers that the model file records for a split, or None if it records none."""
    known = trained.metrics.get(split)
    if known is None:
        return None
    m = known.measures
    return HeadlineScore(
        split, known.main, m[known.main], m.get("top5", math.nan), m["loss"], known.evaluated, known.total
    )


def score_of(split: str, result: Evaluation) -> HeadlineScore:
    """Return the headline numbers of an evaluation."""
    m = result.measures
    five = m.get("top5", math.nan)
    return HeadlineScore(split, result.main, m[result.main], five, m["loss"], len(result.targets), result.total)


def collect_refusals(log: Sequence[Mapping[str, Any]], result: Evaluation | None, data: str) -> list[Refused]:
    """Return each refused file once, with its path relative to the data folder."""
    entries = [r for e in log if e["event"] in ("step_end", "task_progress", "evaluated") for r in e["refused"]]
    found = [from_json(Refused, entry) for entry in entries] + list(result.refused if result else ())
    root = f"{Path(data).expanduser()}/"
    named = {r.path: Refused(r.path.removeprefix(root), r.code, r.detail.replace(root, "")) for r in found}
    return sorted(named.values(), key=lambda r: r.path)


def view_first_layer(
    classifier: NetworkClassifier, name: str = "", image: UInt8[np.ndarray, "H W C"] | None = None
) -> FirstLayer | None:
    """Return the filters of the first convolution, and its feature maps for an image.

    `image` is preprocessed for the network, but in RGB order. Without `image`, there are no feature maps. Return None
    if the layer cannot be shown.
    """
    try:
        layer, module = find_layer(classifier.network, None)
        if not isinstance(module.weight, Tensor):
            return None
        blue_first = classifier.preprocess.channels == "bgr"
        filters = filter_grid(module.weight.detach().float().cpu().numpy(), classifier.preprocess.channels)
        if image is None:
            return FirstLayer(layer, filters)
        view = np.ascontiguousarray(image[:, :, ::-1] if blue_first else image)
        maps = output_of(classifier, module, to_batch(view[None]))[0]
        return FirstLayer(layer, filters, name, image, compact_grid(maps.numpy()))
    except UserError:  # there is no convolution, its output is not used, or a value is not finite
        return None


def filter_grid(weights: Float[np.ndarray, "n c h w"], channels: str) -> UInt8[np.ndarray, "..."] | None:
    """Return filters with one or three channels as one picture. For other numbers of channels, return None."""
    if weights.shape[1] == 1:
        return compact_grid(weights[:, 0])
    if weights.shape[1] != 3:
        return None
    return compact_grid(weights[:, :: -1 if channels == "bgr" else 1].transpose(0, 2, 3, 1))


def compact_grid(maps: Float[np.ndarray, "N H W *colours"]) -> UInt8[np.ndarray, "GH GW *colours"]:
    """Return the grid of `map_grid` without its empty rows."""
    rows = math.ceil(len(maps) / (math.isqrt(len(maps) - 1) + 1))
    return map_grid(maps)[: rows * (maps.shape[1] + 1)]
