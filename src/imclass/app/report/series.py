"""The report on a series of runs: its contents, and the section with the result of each run."""
# Tested in tests/app/series/test_crossval.py

from dataclasses import replace

import numpy as np

from imclass.app.load import count_parameters, load_classifier
from imclass.app.report.facts import (
    ReportData,
    SeriesFacts,
    collect_refusals,
    image_fields,
    pipeline_or_network,
    score_of,
)
from imclass.app.report.markup import Html, element, html_table, join_html
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.pictures import read_pictures
from imclass.app.series.results import pooled_result, read_results
from imclass.app.settings.record import read_run_record
from imclass.app.settings.series import Crossval, Repeats, Series
from imclass.app.text.series import pooled_line, spread_lines
from imclass.core.config import Training
from imclass.core.files import file_digest
from imclass.core.model_file import Provenance
from imclass.core.text import measure_title, percent
from imclass.data.source import ALL_IMAGES
from imclass.store.context import Context
from imclass.training.kinds import kind_tables


def gather_series(run: Run, context: Context) -> ReportData:
    """Gather the contents of a report from the folder of a finished series, without opening the data."""
    series = read_run_record(run.config, kind_tables(context)).series
    if series is None:
        raise ValueError(f"{run} is a single run")
    run = replace(run, series=series)
    return gather_folds(run, series, context) if isinstance(series, Crossval) else gather_repeats(run, series, context)


def gather_folds(run: Run, series: Series, context: Context) -> ReportData:
    """Gather the contents of a report on a finished cross-validation."""
    begun, classifier = read_run_record(run.config, kind_tables(context)), load_classifier(run.model, context)
    result = pooled_result(run)
    trained, pooled = classifier.trained or Provenance(), result.pooled
    shown = image_fields(classifier, run.folder, pooled, result.row.images)
    pictures = {name: view for fold in run.divisions for name, view in read_pictures(fold.folder).items()}
    lines = [*spread_lines(result.scores, series), pooled_line(result)]
    if test := trained.metrics.get("test"):
        text = f"The ensemble of all folds was scored once on {test.evaluated:,} test images that are in no fold: "
        lines.append(f"{text}{measure_title(test.main)} {percent(test.measures[test.main])}.")
    return ReportData(
        name=run.folder.name or "run",
        network=f"{series.count} x {pipeline_or_network(begun.config)}",
        data=(trained.data and trained.data.name) or begun.config.data,
        classes=classifier.classes,
        trained=trained,
        versions=classifier.pack()[1].versions,
        digest=file_digest(run.model),
        parameters=count_parameters(classifier),
        size=begun.config.preprocess.size if isinstance(begun.config, Training) else 0,
        refused=collect_refusals((), pooled, begun.config.data),
        counts={name: np.array(counts, np.int64) for name, counts in begun.counts.items()},
        images=begun.images,
        score=score_of(ALL_IMAGES, pooled),
        scored=f"{result.row.facts.scope}; the model file contains the ensemble of these models",
        result=pooled,
        problem="",
        **{**shown, "pictures": pictures},
        series=SeriesFacts(series, result.scores, tuple(lines)),
    )


def gather_repeats(run: Run, series: Series, context: Context) -> ReportData:
    """Gather the contents of a report on finished repeated splits. They have no model in common."""
    begun, scores = read_run_record(run.config, kind_tables(context)), read_results(run)
    first = load_classifier(run.divisions[0].model, context)
    trained = first.trained or Provenance()
    lines = [*spread_lines(scores, series), "Each split has a run, with a model and a report, in the folder splits."]
    return ReportData(
        name=run.folder.name or "run",
        network=f"{series.count} x {pipeline_or_network(begun.config)}",
        data=(trained.data and trained.data.name) or begun.config.data,
        classes=first.classes,
        trained=Provenance(data=trained.data),
        versions=first.pack()[1].versions,
        digest="",
        parameters=count_parameters(first),
        size=0,
        refused=(),
        counts={name: np.array(counts, np.int64) for name, counts in begun.counts.items()},
        images=begun.images,
        score=None,
        scored="",
        result=None,
        mistakes=(),
        pictures={},
        inside=None,
        problem="",
        series=SeriesFacts(series, scores, tuple(lines)),
    )


def series_headline(facts: SeriesFacts) -> Html:
    """Return the mean and the standard deviation of the main measure over the divisions, as a headline."""
    scores, main = facts.scores, facts.scores.main
    text = f"mean {measure_title(main)} over {len(scores.each)} random splits of the images; "
    text += f"standard deviation {100 * scores.deviation(main):.2f} percentage points"
    large = element("strong", percent(scores.mean(main)))
    return element("p", large, " ", element("span", text), class_="result")


def folds_section(m: ReportData) -> Html:
    """Return a table of the folds of a cross-validation, with the mean and standard deviation of their results."""
    return series_table(m.series) if m.series and isinstance(m.series.series, Crossval) else Html()


def splits_section(m: ReportData) -> Html:
    """Return a table of repeated random splits, with the mean and standard deviation of their results."""
    return series_table(m.series) if m.series and isinstance(m.series.series, Repeats) else Html()


def series_table(facts: SeriesFacts) -> Html:
    """Return a table of the divisions of a series, followed by lines of text."""
    shown = facts.scores.shown
    head = (facts.series.division.capitalize(), "Images", *map(measure_title, shown))
    rows = [
        (str(score.number), f"{score.evaluated:,}", *(percent(score.measures[name]) for name in shown))
        for score in facts.scores.each
    ]
    return join_html([html_table(head, rows, "numbers"), *(element("p", line) for line in facts.lines)])
