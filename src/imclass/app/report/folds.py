"""The report on a cross-validation: its contents, and the section with the result of each fold."""
# Tested in tests/app/runs/test_crossval.py

import numpy as np

from imclass.app.load import count_parameters, load_classifier
from imclass.app.report.facts import ReportData, collect_refusals, image_fields, score_of
from imclass.app.report.markup import Html, element, html_table, join_html
from imclass.app.runs.crossval import pooled_result
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.pictures import read_pictures
from imclass.app.settings.record import read_run_record
from imclass.app.text.crossval import spread_text
from imclass.core.files import file_digest
from imclass.core.model_file import Provenance
from imclass.core.text import measure_title, percent
from imclass.data.source import ALL_IMAGES
from imclass.store.context import Context
from imclass.training.kinds import kind_tables


def gather_folds(run: Run, context: Context) -> ReportData:
    """Gather the contents of a report from the folder of a finished cross-validation, without opening the data."""
    begun, classifier = read_run_record(run.config, kind_tables(context)), load_classifier(run.model, context)
    result = pooled_result(run)
    trained, pooled = classifier.trained or Provenance(), result.pooled
    training = begun.training
    shown = image_fields(classifier, run.folder, pooled, result.row.images)
    folders = [run.fold(fold.number).folder for fold in result.folds]
    pictures = {name: view for folder in folders for name, view in read_pictures(folder).items()}
    return ReportData(
        name=run.folder.name or "run",
        network=f"{len(result.folds)} x {training.model.network}",
        data=(trained.data and trained.data.name) or training.data,
        classes=classifier.classes,
        trained=trained,
        versions=classifier.pack()[1].versions,
        digest=file_digest(run.model),
        parameters=count_parameters(classifier),
        size=training.preprocess.size,
        refused=collect_refusals((), pooled, training.data),
        counts={name: np.array(counts, np.int64) for name, counts in begun.counts.items()},
        images=begun.images,
        score=score_of(ALL_IMAGES, pooled),
        scored=f"{result.row.facts.scope}; the model file contains the ensemble of these models",
        result=pooled,
        problem="",
        **{**shown, "pictures": pictures},
        folds=result,
    )


def folds_section(m: ReportData) -> Html:
    """Return a table of the folds with the mean and the standard deviation of their results."""
    if m.folds is None:
        return Html()
    head = ("Fold", "Images", measure_title(m.folds.pooled.main))
    rows = [(str(fold.number), f"{fold.evaluated:,}", percent(fold.main)) for fold in m.folds.folds]
    lines = [element("p", line) for line in spread_text(m.folds).splitlines()]
    if test := m.trained.metrics.get("test"):
        text = f"The ensemble of all folds was scored once on {test.evaluated:,} test images that are in no fold: "
        lines.append(element("p", f"{text}{measure_title(test.main)} {percent(test.measures[test.main])}."))
    return join_html([html_table(head, rows, "numbers"), *lines])
