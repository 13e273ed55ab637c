"""A summary of a run, read from its folder alone: its state, progress, results and configuration.

The configuration is read as JSON, so that a run can be listed without the plugins that it uses.
"""
# Tested in tests/app/verbs/test_runs.py

import contextlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from safetensors import SafetensorError, safe_open

from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.curves import epoch_rows, step_rows
from imclass.app.settings.series import Crossval, series_in
from imclass.core.codec import flatten
from imclass.core.config import CONFIG_FORMAT
from imclass.core.errors import UserError
from imclass.core.files import lock_file
from imclass.core.model_file import read_record
from imclass.core.text import main_measure
from imclass.data.subset import VALIDATION
from imclass.evaluation.division_scores import SECOND_MEASURES
from imclass.evaluation.folds import OUT_OF_FOLD
from imclass.training.events import RunPosition

RunState: TypeAlias = Literal["finished", "training", "stopped", "broken", "not begun"]
Kind: TypeAlias = Literal["run", "cross-validation", "fold", "repeated splits", "split", "leg"]
Measures: TypeAlias = Mapping[str, float]
Rows: TypeAlias = Sequence[Mapping[str, int | float]]

RUN_SPLITS = (OUT_OF_FOLD, VALIDATION, "test")  # in the order of the columns
DEVIATION = "deviation"  # ends the name of a standard deviation over the runs of a series: "top1_deviation"
TIMED_EVENTS = ("step_end", "feature_batch")
# Errors that the content of a damaged folder may cause.
DAMAGES = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    StopIteration,
    UserError,
)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The state, progress and results of a run, of a series of runs, of one of these, or of a leg of a run."""

    folder: Path
    kind: Kind = "run"
    state: RunState
    done: int = 0  # finished epochs or, of a series, finished runs
    total: int = 0  # planned epochs or runs
    results: Mapping[str, Measures] = field(default_factory=dict)  # keyed by split
    seconds: float = 0.0  # of training, without evaluation
    problem: str = ""  # why the folder is broken, or why training stopped; "" if there is nothing to report
    settings: Mapping[str, Any] = field(default_factory=dict)  # the configuration by dotted key; of a part: empty
    history: Rows = ()  # a row for each finished epoch
    within_epochs: Rows = ()  # rows of training measures, at fractions of epochs
    parts: tuple["RunSummary", ...] = ()  # the runs of a series, or the legs of a run of several stages


def summarise_run(folder: Path) -> RunSummary:
    """Return the summary of the run in a folder. If its files cannot be read, its state is "broken"."""
    try:
        record = read_config_record(folder / "config.json")
        series = series_in(record)
        return series_summary(Run(folder, series=series), record) if series else single_summary(folder, record)
    except DAMAGES as error:
        problem = str(error) if isinstance(error, UserError) else f"its files cannot be read ({error!r})"
        return RunSummary(folder=folder, state="broken", problem=problem.split("\n")[0])


def read_config_record(file: Path) -> dict[str, Any]:
    """Return the JSON of a run's config.json. Raise `UserError` if it is missing, damaged or has another format."""
    if not file.is_file():
        raise UserError(f"{file} is missing")
    try:
        record = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise UserError(f"{file} is damaged: it is not JSON") from None
    number = record.get("format") if isinstance(record, dict) else None
    if number != CONFIG_FORMAT:
        raise UserError(f"{file} has format {number}, but this version of imclass reads format {CONFIG_FORMAT}")
    return dict(record)


def single_summary(folder: Path, record: Mapping[str, Any]) -> RunSummary:
    """Return the summary of a single run."""
    run = Run(folder)
    log = [entry for entry in run.events() if "event" in entry]
    state = state_of(run)
    stages = planned_stages(record)
    return RunSummary(
        folder=folder,
        state=state,
        done=epochs_in(log),
        total=sum(epochs for _, epochs in stages),
        results=model_results(run.model) if run.is_finished else last_results(log),
        seconds=training_seconds(log),
        problem=stop_reason(log) if state == "stopped" else "",
        settings=settings_in(record),
        history=epoch_rows(log),
        within_epochs=step_rows(log),
        parts=tuple(leg_summaries(folder, stages, log, state)) if len(stages) > 1 else (),
    )


def state_of(run: Run) -> RunState:
    """Return whether a run is finished, in training, or stopped."""
    return "finished" if run.is_finished else "training" if is_in_use(run.folder) else "stopped"


def is_in_use(folder: Path) -> bool:
    """Return whether a process is training in a folder. The lock is taken for a moment, in its shared form."""
    with contextlib.suppress(OSError), (folder / ".lock").open() as file:
        return not lock_file(file, shared=True)
    return False


def planned_stages(record: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the name and the number of epochs of each stage. The fit of a pipeline has none."""
    if "fitting" in record:
        return []
    training, resolved = record["training"], record.get("resolved", {})
    network, stages = training["model"]["network"], []
    for i, stage in enumerate(training["stages"]):
        network = stage["model"]["network"] if stage["model"] else network
        stages.append((stage["name"] or network, resolved.get(f"stages.{i}.epochs", stage["epochs"])))
    return stages


def leg_summaries(
    folder: Path, stages: Sequence[tuple[str, int]], log: Sequence[Mapping[str, Any]], state: RunState
) -> Iterator[RunSummary]:
    """Yield a summary of each leg of a run. The first leg without a model has the state of the run."""
    now: RunState = state
    for i, (name, epochs) in enumerate(stages):
        leg = Run(folder / "legs" / f"{i + 1:02d}-{name}")
        entries = [entry for entry in log if entry["stage"] == i]
        yield RunSummary(
            folder=leg.folder,
            kind="leg",
            state="finished" if leg.is_finished else now,
            done=epochs_in(entries),
            total=epochs,
            results=model_results(leg.model) if leg.is_finished else last_results(entries),
            seconds=training_seconds(entries),
        )
        now = now if leg.is_finished else "not begun"


def series_summary(run: Run, record: Mapping[str, Any]) -> RunSummary:
    """Return the summary of a series. Its result on all divisions is the mean over those that are finished."""
    if run.series is None:
        raise ValueError(f"{run} is a single run")
    pooled = isinstance(run.series, Crossval)
    summaries = [summarise_run(one.folder) for one in run.divisions if one.folder.is_dir()]
    parts = tuple(map(as_fold, summaries) if pooled else map(as_split, summaries))
    finished = [part for part in parts if part.state == "finished"]
    state = state_of(run)
    if state == "stopped" and any(part.state == "training" for part in parts):
        state = "training"
    results = model_results(run.model) if run.is_finished and pooled else {}
    scored = OUT_OF_FOLD if pooled else "test"
    return RunSummary(
        folder=run.folder,
        kind="cross-validation" if pooled else "repeated splits",
        state=state,
        done=len(finished),
        total=run.series.count,
        results={
            **results,
            **({scored: mean_measures([part.results[scored] for part in finished])} if finished else {}),
        },
        seconds=sum((part.seconds for part in parts), 0.0),
        problem=next((part.problem for part in parts if part.problem), "") if state == "stopped" else "",
        settings=settings_in(record) | run.series_entry,
        parts=parts,
    )


def as_split(run: RunSummary) -> RunSummary:
    """Return the summary of the run on one of several random splits."""
    return replace(run, kind="split", settings={}, parts=())


def as_fold(run: RunSummary) -> RunSummary:
    """Return the summary of a fold's run. Its test images are those of the fold, so its results are "out-of-fold"."""

    def rename(key: str) -> str:
        return OUT_OF_FOLD + key.removeprefix("test") if key == "test" or key.startswith("test_") else key

    results = {rename(split): measures for split, measures in run.results.items()}
    history = [{rename(key): value for key, value in row.items()} for row in run.history]
    return replace(run, kind="fold", settings={}, results=results, history=history, parts=())


def mean_measures(each: Sequence[Measures]) -> dict[str, float]:
    """Return the mean of each measure over finished runs, and the standard deviation of those that are shown."""
    found = {name: statistics.fmean(one[name] for one in each) for name in each[0] if all(name in one for one in each)}
    main = main_measure(found)
    for name in (main, SECOND_MEASURES[main]):
        values = [one[name] for one in each if math.isfinite(one.get(name, math.nan))]  # `stdev` fails for NaN
        found |= {f"{name}_{DEVIATION}": statistics.stdev(values)} if len(values) > 1 else {}
    return found


def settings_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration by dotted key, with the device and precision in use, and the digest of its data."""
    config = record["fitting"] if "fitting" in record else record["training"]
    if not isinstance(config["recipe"], str):
        raise UserError("its configuration has no recipe")
    used = {"device": record["runtime"]["device"], "precision": record["runtime"]["arithmetic"]["precision"]}
    return {**flatten(config), **used, "data.digest": record["data"]["digest"]}


def model_results(model: Path) -> dict[str, Measures]:
    """Return the measures that a model file records for each split. Raise `UserError` if the file is incomplete."""
    metrics = (read_record(model)[0]["trained"] or {})["metrics"]
    try:
        with safe_open(model, "numpy"):  # compares the size of the file with its list of tensors
            return {split: plain_measures(found["measures"]) for split, found in metrics.items()}
    except SafetensorError as error:
        raise UserError(f"{model} is damaged ({error})") from None


def last_results(log: Sequence[Mapping[str, Any]]) -> dict[str, Measures]:
    """Return the measures of the last evaluation of each split in a log."""
    return {entry["split"]: plain_measures(entry) for entry in log if entry["event"] == "evaluated"}


def plain_measures(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the measures in a record of a log or a model file, without counts and the position in the run."""
    others = {f.name for f in fields(RunPosition)} | {"evaluated", "total"}
    return {name: float(v) for name, v in record.items() if name not in others and type(v) in (int, float)}


def training_seconds(log: Sequence[Mapping[str, Any]]) -> float:
    """Return the training time in a log, without evaluation."""
    tasks = {entry["stage"]: entry["seconds"] for entry in log if entry["event"] == "task_progress"}
    return sum(tasks.values(), 0.0) + sum((entry["seconds"] for entry in log if entry["event"] in TIMED_EVENTS), 0.0)


def epochs_in(log: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of epochs that end in a log."""
    return len({entry["epoch"] for entry in log if entry["event"] == "epoch_end"})


def stop_reason(log: Sequence[Mapping[str, Any]]) -> str:
    """Return why training stopped, if the log says so."""
    last = log[-1] if log else {}
    if last.get("event") == "non_finite" and last["action"] == "stop":
        return f"training stopped at step {last['step']:,}, because {last['what']} is not finite"
    return ""
