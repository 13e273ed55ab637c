"""Functions that write reports. A run's report is made from its folder alone. Any other model is evaluated first."""
# Tested in tests/app/report/test_page.py

import re
from pathlib import Path
from typing import Any

from imclass.app.evaluation.request import open_request
from imclass.app.evaluation.result import Result, score_request
from imclass.app.load import is_published, normal_spelling
from imclass.app.report.facts import gather_model, gather_run
from imclass.app.report.markup import GENERATOR
from imclass.app.report.page import page
from imclass.app.report.series import gather_series
from imclass.app.runs.directory import Run
from imclass.app.runs.single import is_multiprocess
from imclass.app.runs.train import class_counts
from imclass.app.runs.watchers.pictures import write_pictures
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.series.results import finished_series
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.files import has_mark, write_file
from imclass.evaluation.request import Progress
from imclass.evaluation.results import save_scores
from imclass.store.context import Context

PAGE = "report.html"


def is_report(path: Path) -> bool:
    """Return whether a file begins like a page written by imclass."""
    return has_mark(path, GENERATOR.encode())


def write_report(run: Run, path: Path, context: Context) -> Path:
    """Write a finished run's report to `path` as a self-contained HTML file, and return `path`.

    The report is made from the run's folder alone: nothing is scored, and the data is not opened. Raise a `UserError`
    if the folder does not contain a finished run.
    """
    gather = gather_series if finished_series(run, context) else gather_run
    write_file(path, page(gather(run, context)))
    return path


def report(
    model: str, data: Any, out: Path | None, context: Context, progress: Progress, protocol: Any = None, **options: Any
) -> Path:
    """Write a report on a run or on any other model, and return the path of the report.

    A run is evaluated only if data, a protocol, a split or a class mapping is given, or if training images are to be
    included. Otherwise, the report is made from the run's folder alone. Any other model is always evaluated.
    """
    terms = (data, protocol, options.get("split"), options.get("mapping"))
    needs_scores = any(value is not None for value in terms) or options.get("trained") == "include"
    is_other_model = is_published(model) or (not (Path(model) / "config.json").is_file() and Path(model).exists())
    if needs_scores or is_other_model:
        return report_model(model, data, out, context, progress, protocol, **options)
    return report_run(Path(model), out, context)


def report_run(folder: Path, out: Path | None, context: Context) -> Path:
    """Write the report on a finished run, by default to RUN/report.html."""
    check_target(out, "--out", ".html", is_report)
    run = Run(folder)
    return write_report(run, out or run.folder / PAGE, context)


def report_model(
    model: str, data: Any, out: Path | None, context: Context, progress: Progress, protocol: Any = None, **options: Any
) -> Path:
    """Evaluate a model, save its scores, pictures and report in a folder, and return the path of the report.

    The default folder is reports/MODEL. `options` are fields of a `Request`.
    """
    folder = out or Path("reports") / (re.sub(r"[^\w.+-]+", "-", normal_spelling(model)).strip("-.") or "model")
    check_folder(folder)
    if is_multiprocess():
        raise UserError("a report must be written by a single process; run the command without torchrun")
    request = open_request(model, data, protocol, None, context, progress, **options)
    result = score_request(request, context, progress)
    row, dataset = result.rows[-1], result.scoring.dataset
    if dataset is None:
        raise UserError(f"{model} contains scores, not a model; pass the model itself")
    folder.mkdir(parents=True, exist_ok=True)
    save_evaluation(folder, result, dataset)
    counts = class_counts(dataset)
    ((name, classifier),) = request.models.items()
    write_file(folder / PAGE, page(gather_model(model, classifier, request.files[name], folder, row, counts)))
    return folder / PAGE


def check_folder(folder: Path) -> None:
    """Raise a `UserError` unless the folder is new or empty, or contains an earlier report on a model."""
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / PAGE).is_file() or not is_report(folder / PAGE) or (folder / "config.json").exists():
            raise UserError(f"--out {folder} contains other files; choose a new or empty folder")
    elif folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; choose a folder for the page, the scores and the pictures")


def save_evaluation(folder: Path, result: Result, dataset: Dataset) -> None:
    """Write an evaluation's scores and pictures to a folder."""
    row = result.rows[-1]
    path = folder / SCORES / f"{row.facts.split}.npz"
    path.parent.mkdir(exist_ok=True)
    save_scores(path, row.evaluation, row.images, to_json(row.facts))
    (classifier,) = result.request.models.values()
    preprocess = next((network.preprocess for network in classifier.networks().values()), None)
    write_pictures(folder, row.evaluation, row.images, dataset, preprocess)
