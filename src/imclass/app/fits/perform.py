"""The performance of a run that fits a pipeline: its events, files and scores."""
# Tested in tests/app/fits/test_fit.py

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np

from imclass.app.fits.patches import MAX_PHOTOS, PATCH_FOLDER, save_patch_pictures
from imclass.app.fits.prepare import FitRun
from imclass.app.runs.signals import Acknowledge, listen_for_signals
from imclass.app.runs.watchers.expendable import note_failure
from imclass.app.runs.watchers.log import Log
from imclass.app.runs.watchers.pictures import PICTURES, REPORT_SPLITS, network_view, write_pictures
from imclass.app.runs.watchers.scores import SCORES
from imclass.core import runtime
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation, Image
from imclass.core.errors import BadImage, Interrupted, UserError
from imclass.core.model_file import Metrics, Provenance
from imclass.core.targets import OneOf
from imclass.data.threads import attempt
from imclass.evaluation.leaks import mark_trained
from imclass.evaluation.papers.table import RowSubject
from imclass.evaluation.results import Facts, image_names, read_scores, save_scores
from imclass.evaluation.score import ScoredChunk, describe_refusal, evaluate_scored
from imclass.evaluation.unpack import save_classifier
from imclass.pipelines.pipeline import Pipeline
from imclass.training.events import Consumer, Evaluated, Event, LegEnd, RunPosition, TaskProgress, summarise_evaluation
from imclass.training.fits.fitter import TRAIN, Fitter
from imclass.training.fits.job import EncodedSplit, FittedPipeline

SCORED_ROWS = 256  # rows that are read and scored at a time


def perform_fit(
    fit: FitRun, consumers: Sequence[Consumer] = (), acknowledge: Acknowledge | None = None
) -> Generator[Event, None, None]:
    """Fit the pipeline, and yield each event after all consumers have seen it.

    A signal stops the fit after the current step or image. The same run then continues with what the store has.
    """
    if fit.run.is_finished:
        complete_pictures(fit)
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(fit.run.hold_lock())
        stop = stack.enter_context(listen_for_signals(acknowledge))
        runtime.apply_runtime(fit.job.runtime)
        fit.run.remove_partial_files()
        fit.run.truncate_log(None)
        watching: list[Consumer] = [Log(fit.run), *consumers]
        for consumer in watching:
            stack.callback(consumer.close)
        fitter = Fitter(fit.job, stop.is_set)
        for event in fit_events(fit, fitter):
            stop.started = True
            for consumer in watching:
                consumer.see(event)
            if fit.execution.strict and isinstance(event, TaskProgress) and event.refused:
                bad = describe_refusal(event.refused[0])
                raise UserError(f"refused: {bad}; fix or remove the file, or drop --strict")
            yield event
        if stop.is_set():
            finished = fit.run.is_finished
            raise Interrupted(f"the run is finished: {fit.run.model}" if finished else "stopped; what is done is kept")


def fit_events(fit: FitRun, fitter: Fitter) -> Iterator[Event]:
    """Yield the events of a fit, of the evaluation of each held-out split, and of the end, if it is not stopped."""
    fitted = yield from fitter.run()
    if fitted is None:
        return
    metrics = {}
    for split in fit.held_out:
        result = score_split(fit, fitted, split)
        save_split_scores(fit, split, result)
        metrics[split] = summarise_evaluation(result)
        yield Evaluated(fitter.at, result, split)
    pipeline = with_metrics(fitted.pipeline, {split: Metrics.from_numbers(found) for split, found in metrics.items()})
    complete_pictures(fit)
    complete_patch_pictures(fit, pipeline)
    save(fit, pipeline)
    yield LegEnd(RunPosition(stage=fitter.task + 1), fit.config.recipe, fit.run.model, "fitted", metrics)


def score_split(fit: FitRun, fitted: FittedPipeline, split: str) -> Evaluation:
    """Return the evaluation of a split whose rows are known, with the number of training images among them."""
    part = mark_trained(fit.held_out[split], fit.job.splits[TRAIN].contents())
    encoded = fitted.splits[split]
    scored = ScoredChunk(encoded.kept, [score_rows(fitted.pipeline, encoded)], [*encoded.refused])
    return part.with_counts(evaluate_scored(fitted.pipeline, part.dataset, scored, fit.execution.strict))


def score_rows(pipeline: Pipeline, split: EncodedSplit) -> np.ndarray:
    """Return the scores of all rows of a split, N K."""
    blocks = range(0, len(split.rows), SCORED_ROWS)
    scores = [np.asarray(pipeline.scorer.scores(split.rows[low : low + SCORED_ROWS]), np.float32) for low in blocks]
    return np.concatenate([np.zeros((0, len(pipeline.classes)), np.float32), *scores])


def save_split_scores(fit: FitRun, split: str, result: Evaluation) -> None:
    """Write the scores of a split."""
    name, data, dataset = fit.config.recipe, fit.config.data, fit.held_out[split]
    scope = f"split {split} of {data} (held out of training: {dataset.origin.rule})"
    facts = Facts((name,), RowSubject((), "", name), scope, data, split)
    path = fit.run.folder / SCORES / f"{split}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_scores(path, result, image_names(dataset, result), to_json(facts))


def with_metrics(pipeline: Pipeline, metrics: dict[str, Metrics]) -> Pipeline:
    """Return the pipeline with its measures on the held-out splits."""
    return replace(pipeline, trained=replace(pipeline.trained or Provenance(), metrics=metrics))


def save(fit: FitRun, pipeline: Pipeline) -> None:
    """Write the model file, which marks the run as finished."""
    try:
        save_classifier(fit.run.model, pipeline, fit.job.context)
    except OSError as error:
        problem = f"the model {fit.run.model} could not be written: {error.strerror or error}"
        raise UserError(f"{problem}; free some disk space, then run the same command again") from None


def complete_patch_pictures(fit: FitRun, pipeline: Pipeline) -> None:
    """Write the pictures of what the pipeline looks at. A failure is printed but does not end the run."""
    split = next((split for split in REPORT_SPLITS if split in fit.held_out), TRAIN)
    dataset = fit.job.splits[split]
    if not fit.execution.pictures:
        return
    try:
        spaced = np.unique(np.linspace(0, len(dataset) - 1, MAX_PHOTOS).round().astype(int)).tolist()
        photos = {i: image for i in spaced if not isinstance(image := attempt(dataset, small_copy, i), BadImage)}
        targets = dataset.targets[np.array([*photos], np.int64)]
        labels = targets.numpy() if isinstance(targets, OneOf) else None
        save_patch_pictures(fit.run.folder / PATCH_FOLDER, pipeline, [*photos.values()], labels)
    except Exception as error:
        note_failure("drawing what the pipeline looks at failed", error, "the report will not show it")


def small_copy(image: Image) -> Image:
    """Return a copy of an image that takes little memory."""
    return network_view(image, None)


def complete_pictures(fit: FitRun) -> None:
    """Write the pictures for the report, unless they exist. A failure is printed but does not end the run."""
    split = next((split for split in REPORT_SPLITS if split in fit.held_out), None)
    if split is None or not fit.execution.pictures or (fit.run.folder / PICTURES).is_dir():
        return
    try:
        saved = read_scores(fit.run.folder / SCORES / f"{split}.npz")
        write_pictures(fit.run.folder, saved.evaluation, saved.names, fit.held_out[split], None)
    except Exception as error:
        note_failure("saving the pictures failed", error, "the report will have no pictures")
